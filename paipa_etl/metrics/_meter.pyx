# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled meter: two readings of the clock and two additions for a record and a step.

Each class has its plain-Python form in ``_meter_python``, which counts the same. What it
is worth is recorded by ``benchmarks/debugger.py``.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t, uint64_t

cdef enum:
    _BUCKETS = 512  # eight for each doubling of a time in nanoseconds

cdef extern from "<fcntl.h>":
    int open_file "open"(const char*, int)
    int O_RDONLY, O_CLOEXEC

cdef extern from "<unistd.h>":
    ssize_t read(int, void*, size_t)
    ssize_t pread(int, void*, size_t, long)
    int close(int)

cdef extern from "Python.h":
    PyObject* PyIter_Next(object) noexcept
    PyObject* PyErr_Occurred()

cdef extern from *:
    """
    #include <time.h>
    #if defined(__x86_64__) && defined(__GNUC__)
    #define PAIPA_HAS_TICKS 1
    #include <x86intrin.h>
    #endif

    static inline int64_t paipa_clock(void) {
        struct timespec moment;
        clock_gettime(CLOCK_MONOTONIC, &moment);
        return (int64_t)moment.tv_sec * 1000000000 + moment.tv_nsec;
    }

    #ifdef PAIPA_HAS_TICKS
    typedef struct { uint64_t ticks; int64_t clock; } paipa_moment;
    static paipa_moment paipa_origin;
    static uint64_t paipa_scale = 0;  /* nanoseconds of a tick, times 2^32; 0: ticks are not used */

    /* What both say at one moment: the try that took least, as others were interrupted. */
    static paipa_moment paipa_both(void) {
        paipa_moment best = {0, 0};
        int64_t least = INT64_MAX;
        for (int attempt = 0; attempt < 8; attempt++) {
            int64_t before = paipa_clock();
            uint64_t ticks = __rdtsc();
            int64_t taken = paipa_clock() - before;
            if (taken < least) {
                least = taken;
                best.ticks = ticks;
                best.clock = before + taken / 2;
            }
        }
        return best;
    }
    static void paipa_begin(void) { paipa_origin = paipa_both(); }
    static void paipa_use_ticks(void) {
        paipa_moment now;
        do now = paipa_both(); while (now.clock - paipa_origin.clock < 2000000);
        paipa_scale = (uint64_t)((double)(now.clock - paipa_origin.clock) * 4294967296.0
                                 / (double)(now.ticks - paipa_origin.ticks));
    }
    static inline int64_t paipa_now(void) {
        if (!paipa_scale) return paipa_clock();
        unsigned __int128 scaled = (unsigned __int128)(__rdtsc() - paipa_origin.ticks) * paipa_scale;
        return paipa_origin.clock + (int64_t)(scaled >> 32);
    }
    #else
    static void paipa_begin(void) {}
    static void paipa_use_ticks(void) {}
    static inline int64_t paipa_now(void) { return paipa_clock(); }
    #endif

    static inline int paipa_bits(uint64_t value) {
        return value ? 64 - __builtin_clzll(value) : 0;
    }
    """
    void paipa_begin()
    void paipa_use_ticks()
    int64_t paipa_now() nogil
    int paipa_bits(uint64_t) nogil


_CLOCK_SOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
cdef bint _calibrated = False
paipa_begin()


cdef _calibrate():
    """Read the processor's counter itself, where the kernel keeps its clock by it.

    It costs a third of the kernel's clock, which is most of what a meter costs. The kernel
    uses it only where it goes on evenly and is the same on all processors. What a tick is worth
    is taken from both over two milliseconds at least, to some hundred-thousandths.
    """
    global _calibrated
    if _calibrated:
        return
    _calibrated = True
    try:
        with open(_CLOCK_SOURCE) as source:
            trusted = source.read().strip() == "tsc"
    except OSError:
        return
    if trusted:
        paipa_use_ticks()


cdef inline int _bucket(int64_t value) noexcept:
    cdef int shift
    if value < 0:
        return 0
    shift = paipa_bits(<uint64_t>value) - 4
    if shift < 0:
        shift = 0
    return 8 * shift + <int>(value >> shift)


def bucket_of(value):
    """The bucket of a time: linear below 16 ns, then eight for each doubling."""
    return _bucket(value)


def peek(str path):
    """The first bytes of a file of the system's, which has them at hand; ``b""``: it has none.

    Other threads are kept waiting: where there are many, to get on again takes a thousand
    times as long as to read.
    """
    cdef bytes name = path.encode()
    cdef char[64] room
    cdef ssize_t size = -1
    cdef int descriptor = open_file(name, O_RDONLY | O_CLOEXEC)
    if descriptor >= 0:
        size = read(descriptor, room, 64)
        close(descriptor)
    return room[:size] if size > 0 else b""


def peek_open(int descriptor):
    """The same of one that is open."""
    cdef char[64] room
    cdef ssize_t size = pread(descriptor, room, 64, 0)
    return room[:size] if size > 0 else b""


@cython.final
cdef class Account:
    """What one step does in one thread: nanoseconds of its own, and records that left it."""

    cdef public int64_t own, looked_wall, looked_cpu, long_wall, long_cpu, grown
    cdef public bint waits
    cdef public list counted
    cdef int64_t mark
    cdef int64_t[_BUCKETS] _buckets

    def __init__(self):
        self.counted = []

    @property
    def records(self):
        """How many have left it."""
        cdef int place
        cdef int64_t count = 0
        for place in range(_BUCKETS):
            count += self._buckets[place]
        return count

    @property
    def buckets(self):
        """How many records took how long, by ``bucket_of``."""
        cdef int place
        return {
            place: self._buckets[place] for place in range(_BUCKETS) if self._buckets[place]
        }

    cdef inline void _left(self, int64_t count) noexcept:
        cdef int64_t taken = self.own - self.mark
        self.mark = self.own
        if count == 1:
            self._buckets[_bucket(taken)] += 1
        elif count:
            self._buckets[_bucket(taken // count)] += count

    def left(self, int64_t count):
        """So many records have left the step, and took the time since the last ones did."""
        self._left(count)

    def add(self, int64_t nanoseconds, int64_t count):
        """So many records took so long, together."""
        self.own += nanoseconds
        self._left(count)


@cython.final
cdef class Strand:
    """The accounts of one thread's nested iterators: a stack, so that own time is one's own."""

    cdef public Account current
    cdef public int64_t boundaries
    cdef object _clock, _look, _counting
    cdef int64_t _last, _due

    def __init__(self, Account base, look, clock=None, counting=None):
        if clock is None:
            _calibrate()
        self.current = base
        self._clock, self._look, self._counting = clock, look, counting
        self.boundaries = 1
        self._last = self._due = self._now()

    cdef inline int64_t _now(self) except? -1:
        if self._clock is None:
            return paipa_now()
        return self._clock()

    cdef inline int _switch(self, Account account) except -1:
        cdef Account before = self.current
        cdef int64_t now = self._now()
        cdef int64_t spent = now - self._last
        if spent < 0:  # the machine slept, or was moved, and its counter began again
            spent, self._due = 0, now
        self._last = now
        before.own += spent
        self.current = account
        if now >= self._due or self._counting is not None:
            self._look_closely(before, now, spent)
        return 0

    cdef int _look_closely(self, Account before, int64_t now, int64_t spent) except -1:
        if self._counting is not None:
            self._counting(before)
        if now >= self._due:
            self._due = self._look(before, spent, now, self.boundaries)
            self._due += self._now()
        self._last = self._now()
        return 0

    def switch(self, Account account):
        """What follows is this account's time; gives the one whose time it was until now."""
        cdef Account before = self.current
        self._switch(account)
        return before

    def running(self):
        """Whose time it is now, and for how many nanoseconds it has been."""
        return self.current, self._now() - self._last

    def settle(self):
        """Have the time until now on the account whose it was."""
        self._switch(self.current)


@cython.final
cdef class Probe:
    """An iterator whose ``next`` is an account's time, in the strand of the thread that asks."""

    cdef object _items, _find, _weigh
    cdef Strand _strand
    cdef Account _account

    def __init__(self, items, find, weigh=None):
        self._items = iter(items)
        self._find, self._weigh = find, weigh

    def __iter__(self):
        return self

    def __next__(self):
        cdef PyObject* item
        cdef object found
        if self._find is not None:
            self._begin()
        cdef Account outer = self._strand.current
        self._strand._switch(self._account)
        item = PyIter_Next(self._items)
        if item is NULL:
            self._ended(outer)
            return
        self._strand._switch(outer)
        found = <object>item
        Py_DECREF(found)
        self._account._left(1 if self._weigh is None else self._weigh(found))
        return found

    cdef int _begin(self) except -1:
        self._strand, self._account = self._find()
        self._strand.boundaries += 1
        self._find = None
        return 0

    cdef object _ended(self, Account outer):
        try:
            raise_current()
        finally:
            self._strand._switch(outer)

    def close(self):
        """Close the iterator, where it can be closed."""
        method = getattr(self._items, "close", None)
        if method is None:
            return
        if self._find is not None:
            method()
            return
        outer = self._strand.switch(self._account)
        try:
            method()
        finally:
            self._strand.switch(outer)


cdef int raise_current() except -1:
    """What the iterator ended with: its exception, or ``StopIteration``."""
    if PyErr_Occurred() is NULL:
        raise StopIteration
    return -1


def probed_call(function, Strand strand not None, Account account not None, gone, weigh=None):
    """The function, whose time is an account's; a record has left where it does not give ``gone``.

    It may be called only in the thread of the strand.
    """
    strand.boundaries += 1

    def call(record):
        cdef Account outer = strand.current
        strand._switch(account)
        try:
            result = function(record)
        finally:
            strand._switch(outer)
        if result is not gone:
            account._left(1 if weigh is None else weigh(result))
        return result

    return call


@cython.final
cdef class Tally:
    """An iterator that counts what it gives: always on, so it does nothing else."""

    cdef object _items
    cdef public int64_t count

    def __init__(self, items):
        self._items = iter(items)

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self._items)
        self.count += 1
        return item
