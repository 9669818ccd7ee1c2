"""Offsets in an ``array("q")``, read without Cython's memory views, which take long to load."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t


cdef struct Offsets:
    const int64_t *items
    Py_ssize_t count
    Py_buffer view


cdef inline int borrow_offsets(Offsets *offsets, object array) except -1:
    """Read an array's items in place, until ``give_offsets_back``."""
    PyObject_GetBuffer(array, &offsets.view, PyBUF_SIMPLE)
    offsets.items = <const int64_t *> offsets.view.buf
    offsets.count = offsets.view.len // <Py_ssize_t> sizeof(int64_t)
    return 0


cdef inline int give_offsets_back(Offsets *offsets) except -1:
    PyBuffer_Release(&offsets.view)
    return 0
