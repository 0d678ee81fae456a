"""How fast data is sent or asked for: as much under way as fills the link, compressed while that is measured to pay.

Runs in the notebook's kernel and the command line. Everything else on the link waits behind what is under way, so that
is kept to what passes in a few tenths of a second. Whether compressing pays is not guessed: stretches of both kinds are
timed against one another, over and over, since a link may change and so may the data.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any

_LEAST, _FIRST, _MOST = 32 << 10, 512 << 10, 16 << 20
_CHUNK = 1 << 20
#: Seconds that data may wait in the link: below this more is put under way, above that less.
_QUICK, _SLOW = 0.1, 0.5
#: A window has so many messages. A stretch has more: in the first window the link still carries what was before it.
_WINDOW, _STRETCH, _SECONDS = 8, 24, 0.05
#: After so many stretches the other kind is tried for one, and whenever so many have passed: often when it was close.
_TRY, _OFTEN, _SELDOM = 2, 16, 64
#: A core deflates 60 to 100 MB per second, and the ciphers of such a link need the cores as well: not worth a try.
_FAST = 45e6


class Pace:
    """What to do with the next message of one transfer.

    `latency` is that of the link, in seconds, and `window` what an earlier transfer over it found right, if known.
    """

    def __init__(self, latency: float | None, window: int = 0) -> None:
        self.window = window // 2 or _FIRST  # bytes that may be under way
        self.deflate = False  # whether to compress
        self._least = latency or float("inf")  # seconds that an answer takes when nothing waits
        self._shrunk = 0.0
        self._rates: dict[bool, float] = {}
        self._stretch = _Stretch(self.deflate)
        self._stretches = 0

    @property
    def chunk(self) -> int:
        """Bytes of the next message."""
        return max(_LEAST, min(self.window // _WINDOW, _CHUNK))

    def watch(self, future: Future[Any], size: int) -> None:
        """Learn from how a message of `size` bytes fares, which was sent just now with `deflate` as it is."""
        sent, stretch = time.monotonic(), self._stretch
        stretch.sent += 1
        future.add_done_callback(lambda done: self._heard(size, sent, stretch) if not done.exception() else None)
        if stretch.sent >= _STRETCH and sent - stretch.began >= _SECONDS:
            self._stretches += 1
            self.deflate = self._choose()
            stretch.whole = True
            self._stretch = _Stretch(self.deflate)

    def _choose(self) -> bool:
        """Whether the next stretch is compressed."""
        raw = self._rates.get(False)
        if raw is None or raw > _FAST:
            return False
        deflated = self._rates.get(True, raw)
        every = _OFTEN if 0.5 < deflated / raw < 2 else _SELDOM
        faster = deflated > raw
        return not faster if self._stretches == _TRY or self._stretches % every == 0 else faster

    def _heard(self, size: int, sent: float, stretch: _Stretch) -> None:
        now = time.monotonic()
        self._least = min(self._least, now - sent)
        waited = now - sent - self._least
        if waited < _QUICK:
            self.window = min(_MOST, self.window + size)
        elif waited > _SLOW and sent > self._shrunk:
            self.window, self._shrunk = max(2 * _LEAST, self.window // 2), now
        stretch.heard += 1
        if stretch.heard > _WINDOW:
            stretch.size += size
        else:
            stretch.since = now
        if stretch.whole and stretch.heard == stretch.sent:
            self._rates[stretch.deflate] = stretch.size / max(now - stretch.since, 1e-6)


class _Stretch:
    """Messages in a row, all compressed or none."""

    def __init__(self, deflate: bool) -> None:
        self.deflate, self.began = deflate, time.monotonic()
        self.since = self.began  # from then on `size` bytes were heard of
        self.sent = self.heard = self.size = 0
        self.whole = False  # no further message belongs to it
