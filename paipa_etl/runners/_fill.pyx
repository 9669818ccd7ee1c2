# cython: language_level=3, boundscheck=False, wraparound=False
"""The loop of a block task, compiled; ``_fill_python.py`` documents each function.

``benchmarks/pairs.py`` measures its effect.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.string cimport memcpy

from paipa_etl.formats.kernels._scan cimport LineEncoder, raised

from paipa_etl.errors import BadRecord
from paipa_etl.runners._fill_python import RecordFunctions, Piece

cdef extern from "Python.h":
    PyObject *PyObject_CallOneArg(object function, object argument)  # NULL: an exception is set
    bytearray PyByteArray_FromStringAndSize(const char *text, Py_ssize_t size)
    int PyByteArray_Resize(object array, Py_ssize_t size) except -1
    Py_ssize_t Py_REFCNT(object thing)
    char *PyByteArray_AS_STRING(object array) noexcept

cdef enum:
    SPARE = 16384  # bytes beyond the limit, so that the last record seldom needs more memory


cdef class PieceBuilder:
    """Builds a piece record by record; the piece is full at ``limit`` bytes or more.

    The memory of a piece is reserved at its beginning: a growing ``bytearray`` is copied often.
    """

    cdef bytearray _data, _taken
    cdef Py_ssize_t _limit, _used, _room, _count

    def __init__(self, Py_ssize_t limit):
        self._limit = limit
        self._begin()

    cdef int _begin(self) except -1:
        self._room = self._limit + SPARE
        if self._taken is not None and Py_REFCNT(self._taken) == 1:
            self._data = self._taken
            PyByteArray_Resize(self._data, self._room)
        else:
            self._data = PyByteArray_FromStringAndSize(NULL, self._room)
        self._used = self._count = 0
        return 0

    cdef int _append(self, bytes part) except -1:
        cdef Py_ssize_t size = len(part)
        if self._used + size > self._room:
            self._room = 2 * self._used + size
            PyByteArray_Resize(self._data, self._room)
        memcpy(PyByteArray_AS_STRING(self._data) + self._used, <const char *> part, size)
        self._used += size
        return 0

    cdef bint _add(self, bytes before, bytes line, bytes after) except -1:
        if before:
            self._append(before)
        self._append(line)
        if after:
            self._append(after)
        self._count += 1
        return self._used >= self._limit

    def add(self, bytes before not None, bytes line not None, bytes after not None):
        """Append a record; returns whether the piece is full."""
        return bool(self._add(before, line, after))

    def take(self):
        """Return the piece and begin an empty one."""
        PyByteArray_Resize(self._data, self._used)
        piece = Piece(self._data, self._count)
        data = self._data
        self._begin()
        self._taken = data
        return piece


def fill(functions, rows, PieceBuilder builder not None, first):
    """Process raw records and append the results; returns whether the piece is full."""
    decode, decode_slowly, rest, failed, encode, copy, unencodable, before, after, gone = functions
    cdef LineEncoder lines = encode if isinstance(encode, LineEncoder) else None
    cdef PyObject *result
    cdef bint full
    call = first
    for raw in rows:
        # Called through the C API: try statements cost 3 to 6 % of a whole job.
        result = PyObject_CallOneArg(decode, raw)
        if result == NULL:
            raised()
            record = decode_slowly(raw)
            if record is gone:
                continue
        else:
            record = <object> result
            Py_DECREF(record)
        result = PyObject_CallOneArg(call, record)
        if result == NULL:
            failed(raised())
            continue
        record = <object> result
        Py_DECREF(record)
        call = rest
        if record is gone:
            continue
        try:
            if lines is not None:
                line = lines.line(record)
            elif encode is None:
                line = raw if copy is None else copy(raw)
            else:
                line = encode(record)
        except BadRecord as error:
            unencodable(error)
            continue
        full = builder._add(before, line, after)
        record = line = raw = None  # the next record takes the same memory
        if full:
            return True
    return False
