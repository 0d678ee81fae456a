"""A TCP proxy that cuts, stalls, half-closes, refuses and delays: the bad network of the tests. In the test process.

The relaying itself is done by `_relay.py` in a process of its own, so that it takes no time from the client under test.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What went through so far."""

    port: int
    accepted: int  # connections since the start
    open: int  # connections now
    up: int  # bytes delivered to the server
    down: int  # bytes delivered to the client


class Proxy:
    """Listens on 127.0.0.1:`port` and relays to `host`:`port` given; `delay` is one way, in milliseconds."""

    def __init__(self, host: str, port: int, *, delay: float = 0.0) -> None:
        program = Path(__file__).with_name("_relay.py")
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", str(program), host, str(port), str(delay / 1000)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self.port = self._answer().port

    def _answer(self) -> Figures:
        assert self._process.stdout is not None
        return Figures(**json.loads(self._process.stdout.readline()))

    def _do(self, *commands: str) -> Figures:
        """Carry out all commands at one instant."""
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(commands).encode() + b"\n")
            self._process.stdin.flush()
            return self._answer()

    @property
    def figures(self) -> Figures:
        return self._do("stats")

    def cut(self) -> None:
        """Reset every open connection; new ones are welcome."""
        self._do("cut")

    def cut_for(self, seconds: float) -> None:
        """Reset every open connection and refuse new ones for that long; returns when the link is back."""
        self._do("refuse", "cut")
        time.sleep(seconds)
        self._do("accept")

    def stall(self) -> None:
        """Forward nothing either way, and take no connection; TCP stays open and nobody is told."""
        self._do("stall")

    def resume(self) -> None:
        """Forward what waits, and all that follows."""
        self._do("resume")

    def stall_for(self, seconds: float) -> None:
        """A black hole of that length; returns when it is over."""
        self._do("stall")
        time.sleep(seconds)
        self._do("resume")

    def half_close(self) -> None:
        """End the stream towards the client of every open connection; the server is not told."""
        self._do("half_close")

    def refuse(self) -> None:
        """Refuse new connections; open ones go on."""
        self._do("refuse")

    def accept(self) -> None:
        """Take new connections again, at the same port."""
        self._do("accept")

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(10)


MakeProxy = Callable[..., Proxy]


@pytest.fixture
def make_proxy() -> Iterator[MakeProxy]:
    """A function that puts a proxy before a port: `make_proxy(host, port, delay=25)`; it ends with the test."""
    proxies: list[Proxy] = []

    def make(host: str, port: int, *, delay: float = 0.0) -> Proxy:
        proxy = Proxy(host, port, delay=delay)
        proxies.append(proxy)
        return proxy

    yield make
    for proxy in proxies:
        proxy.close()
