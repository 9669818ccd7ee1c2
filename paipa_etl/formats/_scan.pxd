cdef class LineEncoder:
    cdef object _dumps, _options, _encode
    cdef bytes _encoded_after_error(self, record)
    cdef bytes line(self, record)
