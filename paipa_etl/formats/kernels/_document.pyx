# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled kernel of JSON documents; ``_document_python.py`` documents each function.

What is worth compiling here is measured by ``benchmarks/kernel.py``.
"""

from array import array

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcpy

from paipa_etl.formats.kernels._offsets cimport Offsets, borrow_offsets, give_offsets_back

from paipa_etl.formats.kernels._document_python import BrokenDocument
from paipa_etl.records.tape import Tape

cdef enum:
    VALUE, FIRST, COMMA, SCALAR, BRACKETS, STRING
    # What a byte is to the scanner.
    OTHER = 0
    SPACE = 1
    QUOTE = 2
    OPENS = 3
    CLOSES = 4
    POINT = 5  # a comma or a colon

cdef unsigned char[256] KIND
cdef int _byte
for _byte in range(256):
    KIND[_byte] = (
        SPACE if _byte in b" \t\n\r"
        else QUOTE if _byte == 0x22
        else OPENS if _byte in b"[{"
        else CLOSES if _byte in b"]}"
        else POINT if _byte in b",:"
        else OTHER
    )

cdef extern from *:
    """
    #define ONES 0x0101010101010101ULL
    #define HIGHS 0x8080808080808080ULL
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define little_endian(word) __builtin_bswap64(word)
    #else
    #define little_endian(word) (word)
    #endif
    #define lowest_byte(mask) (__builtin_ctzll(mask) >> 3)
    """
    const uint64_t ONES
    const uint64_t HIGHS
    uint64_t little_endian(uint64_t word) noexcept nogil
    int lowest_byte(uint64_t mask) noexcept nogil


cdef inline const unsigned char *_quote_or_slash(
    const unsigned char *at, const unsigned char *end
) noexcept nogil:
    """The first quote or backslash, or ``end``.

    Eight bytes at a time: borrows may mark bytes behind the first one, never before it (Bit
    Twiddling Hacks, "determine if a word has a zero byte").
    """
    cdef uint64_t word, quote, slash, mask
    while end - at >= 8:
        memcpy(&word, at, 8)
        word = little_endian(word)
        quote = word ^ (ONES * 0x22)
        slash = word ^ (ONES * 0x5C)
        mask = (((quote - ONES) & ~quote) | ((slash - ONES) & ~slash)) & HIGHS
        if mask:
            return at + lowest_byte(mask)
        at += 8
    while at < end and at[0] != c'"' and at[0] != c'\\':
        at += 1
    return at


cdef inline const unsigned char *_past_string(
    const unsigned char *at, const unsigned char *end
) noexcept nogil:
    """Past the string whose opening quote is before ``at``; ``end`` where it has no other."""
    while True:
        at = _quote_or_slash(at, end)
        if at >= end:
            return end
        if at[0] == c'"':
            return at + 1
        at += 2
        if at > end:
            return end


cdef struct Growing:
    # Items of one kind: how many there are, and for how many there is room.
    int64_t *items
    Py_ssize_t count
    Py_ssize_t room


cdef inline bint _push(Growing *growing, int64_t item) noexcept nogil:
    """Append; False where there is no memory."""
    cdef int64_t *items
    cdef Py_ssize_t room
    if growing.count == growing.room:
        room = 2 * growing.room + 64
        items = <int64_t *> realloc(growing.items, room * sizeof(int64_t))
        if items == NULL:
            return False
        growing.items, growing.room = items, room
    growing.items[growing.count] = item
    growing.count += 1
    return True


cdef object _array(Growing *growing, int64_t first):
    """The items, counted from ``first``, as an array."""
    cdef Py_ssize_t n
    for n in range(growing.count):
        growing.items[n] -= first
    made = array("q", (<char *> growing.items)[: growing.count * sizeof(int64_t)])
    growing.count = 0
    return made


cdef class Scanner:
    cdef readonly int64_t at, begun
    cdef readonly bint inside, first_inside, forgets
    cdef int _mode
    cdef bint _escaped
    cdef unsigned char *_stack
    cdef Py_ssize_t _depth, _room, _deepest
    cdef Growing _starts, _ends

    def __cinit__(self):
        self._stack = NULL
        self._starts.items = self._ends.items = NULL

    def __init__(self, int64_t at=0, bint inside=False):
        self.at, self.inside, self.first_inside = at, inside, inside
        self.begun = -1
        self._mode = VALUE

    def __dealloc__(self):
        free(self._stack)
        free(self._starts.items)
        free(self._ends.items)

    @property
    def waiting(self):
        return self._starts.count

    @property
    def first(self):
        if not self._starts.count:
            raise IndexError("no value waits")
        return self._starts.items[0]

    @property
    def last(self):
        if not self._ends.count:
            raise IndexError("no value waits")
        return self._ends.items[self._ends.count - 1]

    def feed(self, bytes data not None):
        cdef const unsigned char *start = data
        cdef const unsigned char *stop = start + len(data)
        cdef const unsigned char *found
        with nogil:
            found = self._feed(start, stop)
        if found == NULL:
            raise MemoryError
        if found < stop:
            self._refuse(found[0], self.at + (found - start))
        self.at += stop - start

    cdef int _refuse(self, unsigned char byte, int64_t at) except -1:
        name = chr(byte)
        if self._mode == COMMA:
            raise BrokenDocument("a comma or ] is missing in an array", at)
        if self._mode == BRACKETS:
            opened = chr(self._stack[self._depth - 1])
            raise BrokenDocument(f"{name} stands where {opened} is to be closed", at)
        raise BrokenDocument(f"{name} stands where a value begins", at)

    cdef const unsigned char *_feed(
        self, const unsigned char *start, const unsigned char *end
    ) noexcept nogil:
        """``end``, or the byte that breaks the document; NULL where there is no memory."""
        cdef const unsigned char *at = start
        cdef unsigned char kind
        if self._escaped and at < end:
            self._escaped = False
            at += 1
        while at < end:
            if self._mode == BRACKETS:
                kind = KIND[at[0]]
                while kind < QUOTE or kind == POINT:
                    at += 1
                    if at == end:
                        return end
                    kind = KIND[at[0]]
                if kind == QUOTE:
                    self._mode = STRING
                elif kind == OPENS:
                    if not self._open(at[0]):
                        return NULL
                else:
                    # "{" and "}", "[" and "]" differ by two.
                    if self._stack[self._depth - 1] + 2 != at[0]:
                        return at
                    self._depth -= 1
                    if not self._depth and not self._end(self.at + (at + 1 - start)):
                        return NULL
                at += 1
            elif self._mode == STRING:
                at = _quote_or_slash(at, end)
                if at == end:
                    return end
                if at[0] == c'\\':
                    at += 2
                    if at > end:
                        self._escaped = True
                        return end
                    continue
                at += 1
                if self._depth:
                    self._mode = BRACKETS
                elif not self._end(self.at + (at - start)):
                    return NULL
            elif self._mode == SCALAR:
                while at < end and KIND[at[0]] == OTHER:
                    at += 1
                if at < end and not self._end(self.at + (at - start)):
                    return NULL
            else:
                while at < end and KIND[at[0]] == SPACE:
                    at += 1
                if at == end:
                    return end
                kind = KIND[at[0]]
                if self._mode == COMMA:
                    if at[0] == c']':
                        self.inside = False
                    elif at[0] != c',':
                        return at
                    self._mode = VALUE
                elif at[0] == c']' and self._mode == FIRST:
                    self.inside = False
                    self._mode = VALUE
                elif kind == POINT or kind == CLOSES:
                    return at
                elif at[0] == c'[' and not self.inside:
                    self.inside = True
                    self._mode = FIRST
                else:
                    if not self._starts.count:
                        self.first_inside = self.inside
                    self.begun = self.at + (at - start)
                    self._mode = STRING if kind == QUOTE else BRACKETS if kind == OPENS else SCALAR
                    if kind == OPENS and not self._open(at[0]):
                        return NULL
                at += 1
        return end

    cdef bint _open(self, unsigned char byte) noexcept nogil:
        cdef unsigned char *stack
        if self._depth == self._room:
            stack = <unsigned char *> realloc(self._stack, 2 * self._room + 64)
            if stack == NULL:
                return False
            self._stack, self._room = stack, 2 * self._room + 64
        self._stack[self._depth] = byte
        self._depth += 1
        if self._depth > self._deepest:
            self._deepest = self._depth
        return True

    cdef bint _end(self, int64_t at) noexcept nogil:
        cdef bint done = self.forgets or (
            _push(&self._starts, self.begun) and _push(&self._ends, at)
        )
        self.begun, self.forgets = -1, False
        self._mode = COMMA if self.inside else VALUE
        return done

    def finish(self):
        if self._mode == SCALAR and not self._end(self.at):
            raise MemoryError
        if self.begun >= 0:
            where = "in a string" if self._mode == STRING else "in a value"
            raise BrokenDocument(f"the input ends {where}", self.at, self._mode != STRING)
        if self.inside:
            raise BrokenDocument("the input ends in an array, before its ]", self.at, True)

    def forget(self):
        self.forgets = True

    def take(self):
        cdef int64_t first = self._starts.items[0] if self._starts.count else 0
        tape = Tape(_array(&self._starts, first), _array(&self._ends, first), self._deepest)
        self._deepest = self._depth
        return tape


cdef int _check(const Offsets *starts, const Offsets *ends, Py_ssize_t size) except -1:
    """Refuse offsets that do not ascend within the data: they would be read outside of it."""
    cdef Py_ssize_t n
    cdef int64_t before = 0
    if starts.count != ends.count:
        raise ValueError("as many starts as ends are needed")
    for n in range(starts.count):
        if not before <= starts.items[n] <= ends.items[n] <= size:
            raise ValueError("the values do not lie in the data, one behind the other")
        before = ends.items[n]
    return 0


cdef list _values(const char *text, Py_ssize_t size, const Offsets *starts, const Offsets *ends):
    cdef Py_ssize_t n
    _check(starts, ends, size)
    return [text[starts.items[n] : ends.items[n]] for n in range(starts.count)]


cdef bytes _lines(
    const unsigned char *text, Py_ssize_t size, const Offsets *starts, const Offsets *ends
):
    cdef Py_ssize_t n, used = 0
    cdef unsigned char *out
    _check(starts, ends, size)
    # No value becomes longer, and each has a newline behind it.
    out = <unsigned char *> realloc(NULL, size + starts.count + 1)
    if out == NULL:
        raise MemoryError
    try:
        with nogil:
            for n in range(starts.count):
                used += _line(text + starts.items[n], text + ends.items[n], out + used)
                out[used] = c'\n'
                used += 1
        return (<char *> out)[:used]
    finally:
        free(out)


def values_of(bytes data not None, starts not None, ends not None):
    cdef Offsets first, last
    borrow_offsets(&first, starts)
    try:
        borrow_offsets(&last, ends)
        try:
            return _values(data, len(data), &first, &last)
        finally:
            give_offsets_back(&last)
    finally:
        give_offsets_back(&first)


cdef Py_ssize_t _compact(const unsigned char *at, const unsigned char *end, unsigned char *out) noexcept nogil:
    """Copy a value without white space between tokens; returns how many bytes were written."""
    cdef unsigned char *begun = out
    cdef const unsigned char *past
    while at < end:
        if at[0] == c'"':
            past = _past_string(at + 1, end)
            memcpy(out, at, past - at)
            out += past - at
            at = past
        else:
            if KIND[at[0]] != SPACE:
                out[0] = at[0]
                out += 1
            at += 1
    return out - begun


cdef Py_ssize_t _line(const unsigned char *at, const unsigned char *end, unsigned char *out) noexcept nogil:
    if memchr(at, c'\n', end - at) != NULL:
        return _compact(at, end, out)
    memcpy(out, at, end - at)
    return end - at


def compact(bytes value not None):
    cdef const unsigned char *start = value
    cdef Py_ssize_t size = len(value)
    cdef unsigned char *out
    if memchr(start, c'\n', size) == NULL:
        return value
    out = <unsigned char *> realloc(NULL, size)
    if out == NULL:
        raise MemoryError
    try:
        size = _compact(start, start + size, out)
        return (<char *> out)[:size]
    finally:
        free(out)


def lines_of_values(bytes data not None, starts not None, ends not None):
    cdef Offsets first, last
    borrow_offsets(&first, starts)
    try:
        borrow_offsets(&last, ends)
        try:
            return _lines(data, len(data), &first, &last)
        finally:
            give_offsets_back(&last)
    finally:
        give_offsets_back(&first)
