"""How much data is put under way and whether it is compressed, on links that are simulated: no clock runs here."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future

import pytest

from lepton_jupyter.remote import _pace
from lepton_jupyter.remote._pace import Pace


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Road:
    """A link of `rate` bytes per second and `latency` seconds, and a zlib of `zlib` bytes per second."""

    def __init__(self, clock: Clock, rate: float, latency: float, zlib: float, shrinks: float) -> None:
        self._clock, self._rate, self._latency, self._zlib, self._shrinks = clock, rate, latency, zlib, shrinks
        self.travelled = 0.0
        self.longest = 0.0  # seconds that a message waited behind others
        self.most = 0

    def carry(self, total: int, known_latency: float | None = None) -> float:
        """Seconds that so many bytes take."""
        pace, clock, began, busy = Pace(known_latency), self._clock, self._clock.now, self._clock.now
        under_way: deque[tuple[float, int, Future[None]]] = deque()

        def wait_until(then: float) -> None:
            """Answers come when they come, whatever the sender does."""
            while under_way and under_way[0][0] <= then:
                due, _, future = under_way.popleft()
                clock.now = max(clock.now, due)
                future.set_result(None)
            clock.now = max(clock.now, then)

        while total or under_way:
            chunk = min(pace.chunk, total)
            size = sum(entry[1] for entry in under_way)
            self.most = max(self.most, size)
            if not chunk or (under_way and size + chunk > pace.window):
                wait_until(under_way[0][0])
                continue
            small = chunk
            if pace.deflate:
                small = int(chunk * self._shrinks)
                wait_until(clock.now + chunk / self._zlib)
            future: Future[None] = Future()
            pace.watch(future, chunk)
            self.longest = max(self.longest, busy - clock.now)
            busy = max(busy, clock.now) + small / self._rate
            under_way.append((busy + self._latency, chunk, future))
            total -= chunk
            self.travelled += small
        return clock.now - began


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_pace, "time", clock)
    return clock


@pytest.mark.parametrize("latency", [0.0005, 0.05, 0.6])
@pytest.mark.parametrize("rate", [50e3, 1e6, 40e6, 1e9])
def test_a_link_is_filled_and_nothing_waits_long_behind_data(rate: float, latency: float, clock: Clock) -> None:
    road = Road(clock, rate, latency, zlib=100e6, shrinks=1.0)
    total = int(min(rate * 60, 400e6))
    took = road.carry(total)
    most = _pace._MOST / (latency + _pace._MOST / rate)  # what a window of that size allows
    assert total / took > 0.7 * min(rate, most)
    # Every request waits for what is under way: a second, or what the least window takes.
    assert road.longest < max(1.5, 1.5 * _pace._FIRST / rate)
    assert road.most <= _pace._MOST


def test_data_is_compressed_where_that_is_faster(clock: Clock) -> None:
    road = Road(clock, 10e6, 0.05, zlib=70e6, shrinks=0.2)
    took = road.carry(400_000_000)
    assert took < 0.4 * 400 / 10
    assert road.travelled < 0.35 * 400_000_000


@pytest.mark.parametrize(("rate", "zlib", "shrinks"), [(300e6, 70e6, 0.2), (60e6, 20e6, 0.2), (30e6, 20e6, 0.95)])
def test_data_is_not_compressed_where_that_is_slower(rate: float, zlib: float, shrinks: float, clock: Clock) -> None:
    road = Road(clock, rate, 0.001, zlib, shrinks)
    total = 1_600_000_000
    assert road.carry(total) < 1.15 * total / rate


def test_a_message_that_fails_teaches_nothing(clock: Clock) -> None:
    pace = Pace(None)
    before = pace.window
    future: Future[None] = Future()
    pace.watch(future, 1000)
    future.set_exception(OSError())
    assert pace.window == before
