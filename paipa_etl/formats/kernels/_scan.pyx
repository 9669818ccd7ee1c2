# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled kernel of JSON: whether lines are valid, numbers long, values finite.

Each function has its plain-Python form in ``_scan_python``, which decides wherever
this one says no: what is accepted here must be accepted there. What the kernel is
worth is recorded by ``benchmarks/kernel.py``.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from paipa_etl.formats.kernels._offsets cimport Offsets, borrow_offsets, give_offsets_back

cdef enum:
    MAX_DEPTH = 500
    PROBE = 256  # bytes
    ARRAY = 0
    OBJECT = 1

# A byte that ends a plain run inside a string: a quote, a backslash, a control
# character, or a byte of a longer UTF-8 sequence.
cdef unsigned char[256] SPECIAL
cdef unsigned char[256] HEX
cdef int _byte
for _byte in range(256):
    SPECIAL[_byte] = _byte < 0x20 or _byte == 0x22 or _byte == 0x5C or _byte >= 0x80
    HEX[_byte] = (
        _byte - 0x30 if 0x30 <= _byte <= 0x39
        else (_byte | 0x20) - 0x57 if 0x61 <= (_byte | 0x20) <= 0x66 and _byte >= 0x41
        else 255
    )

cdef extern from *:
    """
    #define ONES 0x0101010101010101ULL
    #define HIGHS 0x8080808080808080ULL
    """
    const uint64_t ONES
    const uint64_t HIGHS


cdef extern from *:
    """
    #include <math.h>
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define little_endian(word) __builtin_bswap64(word)
    #else
    #define little_endian(word) (word)
    #endif
    #define lowest_byte(mask) (__builtin_ctzll(mask) >> 3)
    """
    uint64_t little_endian(uint64_t word) noexcept nogil
    int lowest_byte(uint64_t mask) noexcept nogil


cdef inline uint64_t _specials(const unsigned char *at) noexcept nogil:
    """A mask whose lowest bit stands in the first special one of eight bytes; 0: none.

    Borrows may mark bytes behind the first one, never before it (Bit Twiddling
    Hacks, "determine if a word has a byte less than n").
    """
    cdef uint64_t word, quote, slash
    memcpy(&word, at, 8)
    word = little_endian(word)
    quote = word ^ (ONES * 0x22)
    slash = word ^ (ONES * 0x5C)
    return (word | (word - ONES * 0x20) | (quote - ONES) | (slash - ONES)) & HIGHS


cdef inline const unsigned char *_utf8(const unsigned char *at, const unsigned char *end) noexcept nogil:
    """Past one sequence of two to four bytes, or NULL (Unicode, table 3-7)."""
    cdef unsigned char first = at[0]
    cdef unsigned char second
    if end - at < 2:
        return NULL
    second = at[1]
    if second & 0xC0 != 0x80:
        return NULL
    if 0xC2 <= first <= 0xDF:
        return at + 2
    if end - at < 3 or at[2] & 0xC0 != 0x80:
        return NULL
    if 0xE0 <= first <= 0xEF:
        if (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F):
            return NULL
        return at + 3
    if end - at < 4 or at[3] & 0xC0 != 0x80 or not 0xF0 <= first <= 0xF4:
        return NULL
    if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F):
        return NULL
    return at + 4


cdef inline int _hex4(const unsigned char *at, const unsigned char *end) noexcept nogil:
    """The value of four hexadecimal digits, or -1."""
    cdef int n, value = 0
    if end - at < 4:
        return -1
    for n in range(4):
        if HEX[at[n]] == 255:
            return -1
        value = value * 16 + HEX[at[n]]
    return value


cdef inline const unsigned char *_escape(const unsigned char *at, const unsigned char *end) noexcept nogil:
    """Past an escape, whose backslash is at ``at``, or NULL; a surrogate needs its other half."""
    cdef int unit
    cdef unsigned char kind
    if end - at < 2:
        return NULL
    kind = at[1]
    if kind != c'u':
        if kind in (c'"', c'\\', c'/', c'b', c'f', c'n', c'r', c't'):
            return at + 2
        return NULL
    unit = _hex4(at + 2, end)
    if unit < 0 or 0xDC00 <= unit <= 0xDFFF:
        return NULL
    at += 6
    if not 0xD800 <= unit <= 0xDBFF:
        return at
    if end - at < 6 or at[0] != c'\\' or at[1] != c'u':
        return NULL
    unit = _hex4(at + 2, end)
    return at + 6 if 0xDC00 <= unit <= 0xDFFF else NULL


cdef inline const unsigned char *_string(const unsigned char *at, const unsigned char *end) noexcept nogil:
    """Past a string, whose opening quote is before ``at``, or NULL."""
    cdef uint64_t mask
    while True:
        while end - at >= 8:
            mask = _specials(at)
            if mask:
                at += lowest_byte(mask)
                break
            at += 8
        while at < end and not SPECIAL[at[0]]:
            at += 1
        if at >= end:
            return NULL
        if at[0] == c'"':
            return at + 1
        if at[0] == c'\\':
            at = _escape(at, end)
            if at == NULL:
                return NULL
        elif at[0] < 0x80:
            return NULL
        while at < end and at[0] >= 0x80:
            at = _utf8(at, end)
            if at == NULL:
                return NULL


cdef inline const unsigned char *_digits(const unsigned char *at, const unsigned char *end) noexcept nogil:
    """Past one digit or more, or NULL."""
    cdef const unsigned char *start = at
    while at < end and c'0' <= at[0] <= c'9':
        at += 1
    return at if at > start else NULL


cdef inline const unsigned char *_number(const unsigned char *at, const unsigned char *end) noexcept nogil:
    """Past a number of JSON's grammar, or NULL."""
    if at < end and at[0] == c'-':
        at += 1
    if at < end and at[0] == c'0':
        at += 1
    else:
        at = _digits(at, end)
        if at == NULL:
            return NULL
    if at < end and at[0] == c'.':
        at = _digits(at + 1, end)
        if at == NULL:
            return NULL
    if at < end and (at[0] | 0x20) == c'e':
        at += 1
        if at < end and (at[0] == c'+' or at[0] == c'-'):
            at += 1
        at = _digits(at, end)
    return at


cdef inline const unsigned char *_word(
    const unsigned char *at, const unsigned char *end, const char *word, int size
) noexcept nogil:
    cdef int n
    if end - at < size:
        return NULL
    for n in range(size):
        if at[n] != <unsigned char> word[n]:
            return NULL
    return at + size


cdef inline const unsigned char *_blank(
    const unsigned char *at, const unsigned char *end, unsigned char newline
) noexcept nogil:
    """Past white space; ``newline`` is one more byte that is white space."""
    while at < end and at[0] <= c' ' and (
        at[0] == c' ' or at[0] == c'\t' or at[0] == c'\r' or at[0] == newline
    ):
        at += 1
    return at


cdef inline const unsigned char *_scalar(const unsigned char *at, const unsigned char *end) noexcept nogil:
    if at[0] == c'"':
        return _string(at + 1, end)
    if at[0] <= c'9':
        return _number(at, end)
    if at[0] == c't':
        return _word(at, end, "true", 4)
    if at[0] == c'f':
        return _word(at, end, "false", 5)
    if at[0] == c'n':
        return _word(at, end, "null", 4)
    return NULL


cdef inline const unsigned char *_key(
    const unsigned char *at, const unsigned char *end, unsigned char newline
) noexcept nogil:
    """Past a key, its colon and the blanks behind it, or NULL."""
    at = _blank(at, end, newline)
    if at >= end or at[0] != c'"':
        return NULL
    at = _string(at + 1, end)
    if at == NULL:
        return NULL
    at = _blank(at, end, newline)
    if at >= end or at[0] != c':':
        return NULL
    return _blank(at + 1, end, newline)


cdef inline const unsigned char *_value(
    const unsigned char *at, const unsigned char *end, unsigned char newline
) noexcept nogil:
    """Past one value and the white space around it, or NULL; ``newline`` as in ``_blank``."""
    cdef unsigned char[MAX_DEPTH] kinds
    cdef int depth = 0
    cdef unsigned char kind
    at = _blank(at, end, newline)
    while True:
        if at >= end:
            return NULL
        if at[0] == c'{' or at[0] == c'[':
            if depth == MAX_DEPTH:
                return NULL
            kind = OBJECT if at[0] == c'{' else ARRAY
            at = _blank(at + 1, end, newline)
            if at >= end:
                return NULL
            if at[0] != (c'}' if kind == OBJECT else c']'):
                kinds[depth] = kind
                depth += 1
                if kind == OBJECT:
                    at = _key(at, end, newline)
                    if at == NULL:
                        return NULL
                continue
            at += 1
        else:
            at = _scalar(at, end)
            if at == NULL:
                return NULL
        at = _blank(at, end, newline)
        while depth and at < end and at[0] == (c'}' if kinds[depth - 1] == OBJECT else c']'):
            depth -= 1
            at = _blank(at + 1, end, newline)
        if not depth:
            return at
        if at >= end or at[0] != c',':
            return NULL
        at += 1
        if kinds[depth - 1] == OBJECT:
            at = _key(at, end, newline)
            if at == NULL:
                return NULL
        else:
            at = _blank(at, end, newline)


cdef Py_ssize_t _count(const unsigned char *at, const unsigned char *end) noexcept nogil:
    cdef Py_ssize_t count = 0
    while at < end:
        at = _value(at, end, c' ')
        if at == NULL or (at < end and at[0] != c'\n'):
            return -1
        at += 1
        count += 1
    return count


def count_valid(bytes block not None):
    """How many lines a block has, when every one is a valid JSON value; -1 when one is not.

    A blank line is not valid here: the plain form knows what it means.
    """
    cdef const unsigned char *start = block
    cdef const unsigned char *end = start + len(block)
    cdef Py_ssize_t count
    with nogil:
        count = _count(start, end)
    return count


cdef Py_ssize_t _count_values(
    const unsigned char *data, Py_ssize_t size, const Offsets *starts, const Offsets *ends
) noexcept nogil:
    cdef Py_ssize_t n
    cdef int64_t start, end
    if ends.count != starts.count:
        return -1
    for n in range(starts.count):
        start, end = starts.items[n], ends.items[n]
        if not 0 <= start <= end <= size:
            return -1
        if _value(data + start, data + end, c'\n') != data + end:
            return -1
    return starts.count


def count_valid_values(bytes block not None, starts not None, ends not None):
    """How many values there are, when every one is valid, on one line or many; otherwise -1."""
    cdef Offsets first, last
    cdef Py_ssize_t count
    cdef const unsigned char *data = block
    cdef Py_ssize_t size = len(block)
    borrow_offsets(&first, starts)
    try:
        borrow_offsets(&last, ends)
        try:
            with nogil:
                count = _count_values(data, size, &first, &last)
            return count
        finally:
            give_offsets_back(&last)
    finally:
        give_offsets_back(&first)


cdef extern from *:
    """
    static Py_ssize_t paipa_count_newlines(const char *at, Py_ssize_t size) {
        Py_ssize_t count = 0;
        while (size > 0) {  /* in steps that a byte can count, which compilers make SIMD code of */
            Py_ssize_t step = size < 255 * 16 ? size : 255 * 16;
            unsigned int part = 0;
            for (Py_ssize_t n = 0; n < step; n++)
                part += at[n] == '\\n';
            count += part;
            at += step;
            size -= step;
        }
        return count;
    }
    """
    Py_ssize_t paipa_count_newlines(const char *at, Py_ssize_t size) noexcept nogil


cdef class Lines:
    """A sequence of the lines of some bytes, without their newlines; made when they are asked for.

    A line that is made and dropped before the next one stays in the processor's cache.
    """

    cdef bytes _data
    cdef Py_ssize_t _count
    cdef list _list

    def __init__(self, bytes data not None):
        cdef Py_ssize_t size = len(data)
        self._data = data
        self._count = paipa_count_newlines(data, size)
        if size and (<const char *> data)[size - 1] != c'\n':
            self._count += 1

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        if self._list is None:
            self._list = list(self)
        return self._list[index]

    def __iter__(self):
        cdef LineIterator lines = LineIterator.__new__(LineIterator)
        lines._data, lines._left, lines._at = self._data, self._count, 0
        return lines


cdef class LineIterator:
    """The lines from one on; ``length_hint`` tells how many are left."""

    cdef bytes _data
    cdef Py_ssize_t _left, _at

    def __iter__(self):
        return self

    def __length_hint__(self):
        return self._left

    def __next__(self):
        if not self._left:
            raise StopIteration
        cdef const char *start = (<const char *> self._data) + self._at
        cdef Py_ssize_t size = len(self._data) - self._at
        cdef const char *end = <const char *> memchr(start, c'\n', size)
        if end != NULL:
            size = end - start
        self._left -= 1
        self._at += size + 1
        return start[:size]


cdef struct Quotes:
    # How far a block is known, and whether a string is open there.
    Py_ssize_t at
    bint open


cdef inline bint _in_string(const unsigned char *data, Py_ssize_t at, Quotes *known) noexcept nogil:
    """Whether ``at`` stands in a string; the calls ascend, and each goes on where the last ended."""
    cdef Py_ssize_t line = at
    while line > known.at and data[line - 1] != c'\n':
        line -= 1
    if line > known.at:  # no string goes over the end of a line
        known.at, known.open = line, False
    while known.at < at:
        if data[known.at] == c'"':
            known.open = not known.open
        elif data[known.at] == c'\\' and known.open:
            known.at += 1
        known.at += 1
    return known.open


cdef inline bint _is_fraction(const unsigned char *data, Py_ssize_t first) noexcept nogil:
    """Whether the digits from ``first`` on stand behind a decimal point: then they round."""
    return first > 0 and data[first - 1] == c'.'


cdef inline bint _all_digits(const unsigned char *at) noexcept nogil:
    """Whether eight bytes are digits: the high half of each is 3, also when 6 is added."""
    cdef uint64_t word
    memcpy(&word, at, 8)
    return (
        word & (ONES * 0xF0) == ONES * 0x30
        and (word + ONES * 0x06) & (ONES * 0xF0) == ONES * 0x30
    )


cdef bint _has_long_integer(const unsigned char *data, Py_ssize_t size) noexcept nogil:
    """Whether an integer of 19 digits stands outside of a string: fewer always fit into 64 bits.

    Any such row holds a whole group of eight bytes, counted from the start: only the rows around
    groups of digits are read.
    """
    cdef Py_ssize_t at = 0, first, last
    cdef Quotes known
    known.at, known.open = 0, False
    while at + 8 <= size:
        if not _all_digits(data + at):
            at += 8
            continue
        first, last = at, at + 7
        while first > 0 and c'0' <= data[first - 1] <= c'9':
            first -= 1
        while last + 1 < size and c'0' <= data[last + 1] <= c'9':
            last += 1
        if (
            last - first >= 18
            and not _is_fraction(data, first)
            and not _in_string(data, first, &known)
        ):
            return True
        at = (last | 7) + 1
    return False


cdef bint _is_deep(const unsigned char *at, const unsigned char *end) noexcept nogil:
    """Whether the brackets of a line, those in strings left out, nest deeper than they may."""
    cdef Py_ssize_t depth = 0, opening = 0, n
    cdef bint in_string = False
    for n in range(end - at):
        opening += (at[n] | 0x20) == 0x7B  # "{" and "["
    if opening <= MAX_DEPTH:
        return False
    while at < end:
        if in_string:
            if at[0] == c'\\':
                at += 1
            elif at[0] == c'"':
                in_string = False
        elif at[0] == c'"':
            in_string = True
        elif (at[0] | 0x20) == 0x7B:
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif (at[0] | 0x20) == 0x7D:
            depth -= 1
        at += 1
    return False


cdef bint _has_deep_line(const unsigned char *at, const unsigned char *end) noexcept nogil:
    """Whether a line is deep; a line that is shorter than its brackets would be is not read.

    From the start of a line on, a newline is searched in the last ``PROBE`` bytes that a short
    line may have. If there is one, all lines before it are short, and none of them is read.
    """
    cdef const unsigned char *line_end
    while end - at > 2 * MAX_DEPTH:
        line_end = <const unsigned char *> memchr(at + 2 * MAX_DEPTH - PROBE, c'\n', PROBE)
        if line_end == NULL:
            line_end = <const unsigned char *> memchr(at, c'\n', end - at)
        if line_end == NULL:
            line_end = end
        if line_end - at > 2 * MAX_DEPTH and _is_deep(at, line_end):
            return True
        at = line_end + 1
    return False


def needs_care(bytes block not None):
    """Whether a fast decoder may be wrong about a line: an integer of 19 digits, or deep nesting.

    Digits and brackets in strings do not count, nor digits behind a decimal point. Lines that
    are not valid get any answer.
    """
    cdef const unsigned char *data = block
    cdef Py_ssize_t size = len(block)
    cdef bint care
    with nogil:
        care = _has_long_integer(data, size) or _has_deep_line(data, data + size)
    return care


cdef extern from *:
    """
    /* Whether a text holds "ull". One without it holds no "null"; of any other, the value decides. */
    static int paipa_has_ull_plain(const unsigned char *at, Py_ssize_t size) {
        unsigned char found = 0;
        for (Py_ssize_t n = 0; n + 2 < size; n++)
            found |= (unsigned char) ((at[n] == 'u') & (at[n + 1] == 'l') & (at[n + 2] == 'l'));
        return found;
    }
    #if defined(__GNUC__)
    typedef unsigned char paipa_bytes __attribute__((vector_size(16)));
    static inline paipa_bytes paipa_ull_begins(const unsigned char *at) {
        paipa_bytes first, second, third;
        memcpy(&first, at, 16);
        memcpy(&second, at + 1, 16);
        memcpy(&third, at + 2, 16);
        return (paipa_bytes) ((first == 'u') & (second == 'l') & (third == 'l'));
    }
    static int paipa_has_ull(const unsigned char *at, Py_ssize_t size) {
        const Py_ssize_t last = size - 18;  /* where the last 16 places begin */
        paipa_bytes found;
        uint64_t halves[2];
        if (last < 0)
            return paipa_has_ull_plain(at, size);
        found = paipa_ull_begins(at + last);
        for (Py_ssize_t n = 0; n < last; n += 16)
            found |= paipa_ull_begins(at + n);
        memcpy(halves, &found, 16);
        return (halves[0] | halves[1]) != 0;
    }
    #else
    #define paipa_has_ull paipa_has_ull_plain
    #endif
    """
    bint paipa_has_ull(const unsigned char *at, Py_ssize_t size) noexcept nogil


cdef extern from *:
    """
    /* 0 where a NaN or an infinity stands in a value of dicts, lists and scalars, 1 where none
       does, -1 where something else is in it. Items are borrowed: no Python code runs here. */
    static inline int paipa_is_plain(PyObject *value) {
        return PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || value == Py_None
               || PyBool_Check(value);
    }
    static int paipa_finite(PyObject *value, int depth) {
        int found = 1, one;
        if (paipa_is_plain(value))
            return 1;
        if (PyFloat_CheckExact(value))
            return isfinite(PyFloat_AS_DOUBLE(value)) ? 1 : 0;
        if (depth > 500)
            return 1;
        if (PyDict_CheckExact(value)) {
            PyObject *key, *item;
            Py_ssize_t at = 0;
            while (PyDict_Next(value, &at, &key, &item)) {
                if (paipa_is_plain(item))
                    continue;
                one = paipa_finite(item, depth + 1);
                if (one == 0)
                    return 0;
                found = one < 0 ? -1 : found;
            }
            return found;
        }
        if (PyList_CheckExact(value)) {
            for (Py_ssize_t at = 0; at < PyList_GET_SIZE(value); at++) {
                one = paipa_finite(PyList_GET_ITEM(value, at), depth + 1);
                if (one == 0)
                    return 0;
                found = one < 0 ? -1 : found;
            }
            return found;
        }
        return -1;
    }
    """
    int paipa_finite(object value, int depth) noexcept


cdef bint _is_finite(value) except -1:
    cdef int found = paipa_finite(value, 0)
    if found >= 0:
        return found == 1
    from paipa_etl.formats.kernels._scan_python import is_finite as plain
    return plain(value)


def is_finite(value):
    """Whether no NaN and no infinity stands anywhere in a value."""
    return _is_finite(value)


def holds_nan(bytes line not None, value):
    """Whether an encoder has put ``null`` for a NaN or an infinity into the line of a value."""
    return bool(paipa_has_ull(line, len(line))) and not _is_finite(value)


cdef extern from *:
    """
    static PyObject *paipa_pending(void) { return NULL; }
    """
    object paipa_pending()  # raises the exception that is set

cdef extern from "Python.h":
    PyObject *PyObject_Vectorcall(
        object function, PyObject **arguments, size_t count, PyObject *names
    )  # NULL: an exception is set


cdef Exception raised():
    """Return and clear the exception that a call through the C API has set.

    An exception that is not an ``Exception`` is raised.
    """
    try:
        paipa_pending()
    except Exception as error:
        return error


cdef class LineEncoder:
    """Gives the line of a record when it is called, as ``_scan_python.LineEncoder`` does."""

    def __init__(self, dumps, options, encode):
        self._dumps, self._options, self._encode = dumps, options, encode

    def __reduce__(self):
        return LineEncoder, (self._dumps, self._options, self._encode)

    def __call__(self, record):
        return self.line(record)

    cdef bytes line(self, record):
        cdef bytes line
        cdef PyObject *arguments[3]
        cdef PyObject *result
        arguments[0], arguments[1], arguments[2] = (
            <PyObject *> record, <PyObject *> None, <PyObject *> self._options
        )
        result = PyObject_Vectorcall(self._dumps, arguments, 3, NULL)
        if result == NULL:
            raised()
            return self._encode(record)
        line = <bytes?> <object> result
        Py_DECREF(line)
        if paipa_has_ull(line, len(line)) and not _is_finite(record):
            return self._encode(record)
        return line
