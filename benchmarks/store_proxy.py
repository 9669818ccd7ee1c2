"""A proxy that puts a network between a client and a store: latency, and so much per connection.

    python benchmarks/store_proxy.py UPSTREAM_PORT LATENCY BANDWIDTH

Prints the port that it listens on, and serves until its standard input ends. Each request waits
for LATENCY seconds, once, before it is passed on. BANDWIDTH is in bytes a second, of each
connection and each direction; 0 is no limit. Two threads a connection; the bytes go from socket to
socket through a pipe, inside the kernel.
"""

import contextlib
import fcntl
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

PIECE = 1 << 18
F_SETPIPE_SZ = 1031  # of Linux, which has splice
HEAD = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
UNSIZED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
LAST_WORDS = 5.0  # seconds that an answer may take when the client has no more to say


def main() -> None:
    upstream, latency, bandwidth = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    threading.stack_size(1 << 18)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=accepted, args=(listener, upstream, latency, bandwidth)).start()
    sys.stdin.buffer.read()
    os._exit(0)  # the threads wait for sockets


def accepted(listener: socket.socket, upstream: int, latency: float, bandwidth: float) -> None:
    while True:
        client, _ = listener.accept()
        words = (client, upstream, latency, bandwidth)
        threading.Thread(target=connected, args=words, daemon=True).start()


def connected(client: socket.socket, upstream: int, latency: float, bandwidth: float) -> None:
    """Serve one connection until either side ends it."""
    with client, contextlib.suppress(OSError):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with socket.create_connection(("127.0.0.1", upstream)) as store:
            store.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            down = threading.Thread(target=answers, args=(store, client, bandwidth), daemon=True)
            down.start()
            with contextlib.suppress(OSError):
                requests(client, store, latency, bandwidth)
                store.shutdown(socket.SHUT_WR)
            down.join(LAST_WORDS)


def answers(store: socket.socket, client: socket.socket, bandwidth: float) -> None:
    """Pass on whatever the store says, no faster than the connection is."""
    with contextlib.suppress(OSError):
        passed_on(store, client, None, Pace(bandwidth))
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def requests(client: socket.socket, store: socket.socket, latency: float, bandwidth: float) -> None:
    """Pass on request after request, each when its latency is over."""
    pace, text = Pace(bandwidth), b""
    while True:
        while HEAD not in text:
            if not (piece := client.recv(PIECE)):
                return
            text += piece
        time.sleep(latency)
        head, _, rest = text.partition(HEAD)
        if UNSIZED.search(head):
            raise OSError("a request whose length nobody knows")
        found = LENGTH.search(head)
        length = int(found[1]) if found else 0
        body, text = rest[:length], rest[length:]
        store.sendall(head + HEAD + body)
        if length > len(body):
            passed_on(client, store, length - len(body), pace)


class Pace:
    """How fast bytes may pass: what was not used does not add up."""

    def __init__(self, bandwidth: float) -> None:
        self._bandwidth, self._free = bandwidth, 0.0

    def passed(self, size: int) -> None:
        """Wait until so many bytes more have had their time."""
        if not self._bandwidth:
            return
        now = time.perf_counter()
        # Up to a tick late is the clock's fault, and is made up for.
        self._free = max(self._free, now - 0.01) + size / self._bandwidth
        if self._free > now:
            time.sleep(self._free - now)


def passed_on(source: socket.socket, target: socket.socket, size: int | None, pace: Pace) -> None:
    """Pass so many bytes on, or all until the end."""
    with piped(source, target) as move:
        while size is None or size:
            moved = move(PIECE if size is None else min(size, PIECE))
            if not moved:
                if size is not None:
                    raise OSError("cut")
                return
            size = None if size is None else size - moved
            pace.passed(moved)


@contextlib.contextmanager
def piped(source: socket.socket, target: socket.socket) -> Iterator[Callable[[int], int]]:
    """Give a function that moves at most so many bytes, and tells how many it moved."""
    if not hasattr(os, "splice"):
        room = memoryview(bytearray(PIECE))

        def copy(most: int) -> int:
            size = source.recv_into(room[:most])
            target.sendall(room[:size])
            return size

        yield copy
        return
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):
        fcntl.fcntl(writing, F_SETPIPE_SZ, PIECE)

    def move(most: int) -> int:
        size = left = os.splice(source.fileno(), writing, most)
        while left:
            left -= os.splice(reading, target.fileno(), left)
        return size

    try:
        yield move
    finally:
        os.close(reading)
        os.close(writing)


if __name__ == "__main__":
    main()
