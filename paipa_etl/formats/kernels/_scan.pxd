cdef Exception raised()


cdef class LineEncoder:
    cdef object _dumps, _options, _encode
    cdef bytes line(self, record)
