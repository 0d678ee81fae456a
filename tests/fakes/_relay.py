"""The program behind `proxy.Proxy`: relays TCP, and does to it what bad networks do. Runs in a process of its own.

One thread, one selector. A chunk that arrives is due `delay` later; it is sent then or as soon as the socket takes it,
so delay costs no throughput and order is kept. Commands are JSON lines on stdin, each answered by a line of figures.
"""

from __future__ import annotations

import collections
import json
import os
import selectors
import socket
import struct
import sys
import time

CHUNK = 1 << 18
LIMIT = 64 << 20  # bytes under way in one direction before the sender has to wait


class Way:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, name: str) -> None:
        self.source, self.sink, self.name = source, sink, name
        self.queue: collections.deque[tuple[float, memoryview | None]] = collections.deque()  # None = end of file
        self.size = 0
        self.reading, self.done = True, False


class Relay:
    def __init__(self, target: tuple[str, int], delay: float) -> None:
        self.target, self.delay = target, delay
        self.selector = selectors.DefaultSelector()
        self.listener: socket.socket | None = None
        self.port = 0
        self.pairs: list[tuple[Way, Way]] = []
        self.stalled = False
        self.accepted = 0
        self.bytes = {"up": 0, "down": 0}
        self.input = b""
        self.accept()
        os.set_blocking(0, False)
        self.selector.register(0, selectors.EVENT_READ)

    # commands

    def accept(self) -> None:
        if self.listener is None:
            self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
            self.listener.setblocking(False)
            self.port = self.listener.getsockname()[1]

    def refuse(self) -> None:
        if self.listener is not None:
            self._watch(self.listener, 0)
            self.listener.close()
            self.listener = None

    def cut(self) -> None:
        for up, _ in list(self.pairs):
            for sock in (up.source, up.sink):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close = RST
            self._drop(up)

    def stall(self) -> None:
        self.stalled = True

    def resume(self) -> None:
        self.stalled = False

    def half_close(self) -> None:
        """The client sees the end of the stream; the server believes that all is well."""
        for _, down in self.pairs:
            down.queue.append((time.monotonic(), None))
            down.reading = False

    def stats(self) -> None:
        """Only the answer is wanted."""

    # the loop

    def run(self) -> None:
        while True:
            now = time.monotonic()
            self._arrange(now)
            dues = [way.queue[0][0] for pair in self.pairs for way in pair if way.queue and not self.stalled]
            wait = max(0.0, min([due for due in dues if due > now], default=now + 3600) - now)
            if wait < 0.001:  # the selector's clock ticks in milliseconds
                time.sleep(wait)
                wait = 0.0
            for key, _ in self.selector.select(wait - wait % 0.001):
                if key.fileobj == 0:
                    if not self._command():
                        return
                elif key.fileobj is self.listener:
                    self._connect()
            if not self.stalled:
                for pair in list(self.pairs):
                    for way in pair:
                        self._move(way)

    def _arrange(self, now: float) -> None:
        """Watch exactly the sockets on which something can be done at `now`; the rest is waited for until it is due."""
        for up, down in self.pairs:
            for here, there in ((up, down), (down, up)):  # `here` reads from the socket that `there` writes to
                events = 0
                if not self.stalled:
                    if here.reading and here.size < LIMIT:
                        events |= selectors.EVENT_READ
                    if there.queue and there.queue[0][0] <= now:
                        events |= selectors.EVENT_WRITE
                self._watch(here.source, events)
        if self.listener is not None:
            self._watch(self.listener, 0 if self.stalled else selectors.EVENT_READ)

    def _watch(self, sock: socket.socket, events: int) -> None:
        key = self.selector.get_map().get(sock)
        if key is None:
            if events:
                self.selector.register(sock, events)
        elif not events:
            self.selector.unregister(sock)
        elif key.events != events:
            self.selector.modify(sock, events)

    def _connect(self) -> None:
        assert self.listener is not None
        client, _ = self.listener.accept()
        try:
            server = socket.create_connection(self.target, timeout=5)
        except OSError:
            client.close()
            return
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepted += 1
        self.pairs.append((Way(client, server, "up"), Way(server, client, "down")))

    def _move(self, way: Way) -> None:
        """Take what has come, send what is due."""
        if way.done:
            return None
        try:
            while way.reading and way.size < LIMIT:
                data = way.source.recv(CHUNK)
                way.queue.append((time.monotonic() + self.delay, memoryview(data) if data else None))
                way.size += len(data)
                way.reading = bool(data)
                if len(data) < CHUNK:
                    break
        except BlockingIOError:
            pass
        except OSError:
            return self._drop(way)
        try:
            while way.queue and way.queue[0][0] <= time.monotonic():
                due, chunk = way.queue[0]
                if chunk is None:
                    way.done = True
                    way.queue.clear()
                    way.sink.shutdown(socket.SHUT_WR)
                    break
                sent = way.sink.send(chunk)
                way.size -= sent
                self.bytes[way.name] += sent
                if sent < len(chunk):
                    way.queue[0] = (due, chunk[sent:])
                    break
                way.queue.popleft()
        except BlockingIOError:
            pass
        except OSError:
            return self._drop(way)
        if any(way in pair and all(other.done for other in pair) for pair in self.pairs):
            self._drop(way)
        return None

    def _drop(self, way: Way) -> None:
        for pair in self.pairs:
            if way in pair:
                self.pairs.remove(pair)
                for one in pair:
                    one.done = True
                    self._watch(one.source, 0)
                    one.source.close()
                return

    def _command(self) -> bool:
        data = os.read(0, 4096)
        if not data:
            return False
        *lines, self.input = (self.input + data).split(b"\n")
        for line in lines:
            for name in json.loads(line):
                getattr(self, name)()
            self.report()
        return True

    def report(self) -> None:
        figures = {"port": self.port, "accepted": self.accepted, "open": len(self.pairs), **self.bytes}
        os.write(1, json.dumps(figures).encode() + b"\n")


if __name__ == "__main__":
    relay = Relay((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))
    relay.report()
    relay.run()
