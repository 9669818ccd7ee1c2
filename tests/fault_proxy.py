"""A TCP proxy that does to connections what networks and stores do to them, where a test says so.

Of HTTP it knows where a request begins and ends, so that a fault can be put at the n-th
request, or at the n-th byte of its answer. With ``raw`` it counts connections instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

PIECE = 1 << 16
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
EXPECT = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)


@dataclass(frozen=True)
class Fault:
    """What happens to one request: once ``after`` bytes of its answer have passed.

    ``action``: "reset" the connection, "cut" it without a word, "stall", "trickle" (a byte
    every 50 milliseconds), "lose" the whole answer of a request that the store has carried
    out, send ``answer`` instead of asking, or "hold" the request itself until the proxy is
    told to ``release`` it.
    """

    action: str
    after: int = 0
    answer: bytes = b""


def status(code: int, headers: str = "") -> Fault:
    """A fault that is an answer of the store's."""
    body = b"<Error><Code>Injected</Code></Error>"
    head = f"HTTP/1.1 {code} Injected\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    return Fault("answer", answer=f"{head}{headers}\r\n".encode() + body)


Plan = Callable[[int, bytes], Fault | None]


class FaultProxy:
    """Listens on ``port``; passes on to ``upstream`` what its plan lets pass.

    ``latency`` seconds before each request, ``bandwidth`` bytes a second of each connection.
    """

    def __init__(
        self, upstream: int, *, raw: bool = False, latency: float = 0.0, bandwidth: float = 0.0
    ) -> None:
        self._upstream, self._raw = upstream, raw
        self._latency, self._bandwidth = latency, bandwidth
        self.plan: Plan = lambda number, head: None
        self.requests: list[bytes] = []
        """The first lines of what was asked for."""
        self.held = self._released = False
        self.bytes_down = 0
        self.open = self.most_open = 0
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="fault-proxy")
        self.port = 0

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def reset(self, plan: Plan | None = None) -> None:
        """Begin to count anew, under another plan."""
        self.requests, self.bytes_down = [], 0
        self.held = self._released = False
        self.plan = plan or (lambda number, head: None)

    def release(self) -> None:
        """Let the requests go on that are held."""
        self._released = True

    async def _hold(self) -> None:
        self.held = True
        while not self._released:
            await asyncio.sleep(0.01)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            with contextlib.suppress(BaseException):
                self._loop.run_until_complete(task)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _main(self) -> None:
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._ended.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        passing = Passing(self, writer)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
            try:
                down = asyncio.ensure_future(passing.down(up_reader))
                up = asyncio.ensure_future(
                    self._raw_up(reader, up_writer, passing)
                    if self._raw
                    else self._up(reader, up_writer, passing)
                )
                await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
                if not down.done() and not passing.broken:
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(asyncio.shield(down), 0.2)
                for task in (down, up):
                    task.cancel()
                    with contextlib.suppress(BaseException):
                        await task
            finally:
                up_writer.transport.abort()
        except OSError:
            pass
        finally:
            self.open -= 1
            writer.transport.abort() if passing.broken else writer.close()

    async def _raw_up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: Passing
    ) -> None:
        self.requests.append(b"")
        passing.begin(self.plan(len(self.requests) - 1, b""))
        while piece := await reader.read(PIECE):
            if self._latency:
                await asyncio.sleep(self._latency)
            writer.write(piece)
            await writer.drain()

    async def _up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: Passing
    ) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            number = len(self.requests)
            self.requests.append(head.partition(b"\r\n")[0])
            fault = self.plan(number, head)
            if self._latency:
                await asyncio.sleep(self._latency)
            found = LENGTH.search(head)
            left = int(found[1]) if found else 0
            if fault is not None and fault.action == "answer":
                if not EXPECT.search(head):
                    while left and (piece := await reader.read(min(left, PIECE))):
                        left -= len(piece)
                passing.say(fault.answer)
                return
            if fault is not None and fault.action == "hold":
                await self._hold()
                fault = None
            passing.begin(fault)
            writer.write(head)
            while left:
                piece = await reader.read(min(left, PIECE))
                if not piece:
                    return
                left -= len(piece)
                writer.write(piece)
                await writer.drain()


class Passing:
    """What comes back over one connection."""

    def __init__(self, proxy: FaultProxy, writer: asyncio.StreamWriter) -> None:
        self._proxy, self._writer = proxy, writer
        self._fault: Fault | None = None
        self._passed = 0
        self.broken = False

    def begin(self, fault: Fault | None) -> None:
        self._fault, self._passed = fault, 0

    def say(self, answer: bytes) -> None:
        self._writer.write(answer)

    async def down(self, reader: asyncio.StreamReader) -> None:
        while piece := await reader.read(PIECE):
            fault = self._fault
            if fault is not None:
                room = 0 if fault.action == "lose" else max(fault.after - self._passed, 0)
                if fault.action == "lose" or len(piece) > room:
                    self._writer.write(piece[:room])
                    with contextlib.suppress(ConnectionError):
                        await self._writer.drain()
                    if fault.action == "trickle":
                        await self._trickle(piece[room:], reader)
                        return
                    await self._break(fault)
                    return
            self._passed += len(piece)
            self._proxy.bytes_down += len(piece)
            self._writer.write(piece)
            await self._writer.drain()
            if self._proxy._bandwidth:
                await asyncio.sleep(len(piece) / self._proxy._bandwidth)

    async def _trickle(self, piece: bytes, reader: asyncio.StreamReader) -> None:
        while piece and not self._writer.is_closing():
            for n in range(len(piece)):
                self._writer.write(piece[n : n + 1])
                await self._writer.drain()
                await asyncio.sleep(0.05)
            piece = await reader.read(PIECE)

    async def _break(self, fault: Fault) -> None:
        self.broken = True
        if fault.action == "stall":
            await asyncio.sleep(3600)
        if fault.action in ("reset", "lose"):
            await asyncio.sleep(0.002)  # what was written before is to arrive
            made = self._writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.contextmanager
def proxied(upstream: int, **words: object) -> Iterator[FaultProxy]:
    """A proxy for as long as the block lasts."""
    with FaultProxy(upstream, **words) as proxy:  # type: ignore[arg-type]
        yield proxy
