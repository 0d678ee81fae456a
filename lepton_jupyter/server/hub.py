"""The one place of the server that knows the jobs. Runs in the Jupyter server, on its event loop.

It reads the store's numbered changes in a worker thread, several times a second while somebody looks, keeps them on the
board, and wakes those who want to know: the browsers' connections, the write-back, the supervisor, Jupyter's events.
Whoever wrote a change (a notebook's kernel, the command line, this server) makes no difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ..errors import LeptonError
from ..job import Job, JobId
from ..store import JobStore
from .backend import Backend
from .board import Board, Entry, entry

#: Seconds between two looks into the store: while a page is looked at, while pages are hidden, while there is none.
PERIODS = (0.25, 1.0, 2.0)
#: Seconds between two looks at who is followed, which is no change of the store's.
_UNWATCHED_EVERY = 2.0
#: Seconds after which a store that cannot be used is tried again.
_TROUBLE = 5.0
#: Changes that are taken in before others get their turn on the loop.
_AT_ONCE = 200

#: Told of every change of a job that happens while the server runs: how it was (None: it is new), how it is.
OnJob = Callable[[Job | None, Job], None]


class Listener(Protocol):
    """A browser's connection."""

    visible: bool

    def wake(self, also: Iterable[str] = ()) -> None:
        """There is news on the board: changes, and jobs that look different without one."""


class Hub:
    """Polls the store, keeps the board, wakes the listeners."""

    def __init__(self, backend: Backend, root: str, log: logging.Logger) -> None:
        self.board = Board()
        self.trouble: LeptonError | None = None  # why the store cannot be read at present
        self.on_job: list[OnJob] = []
        self.on_unwatched: list[Callable[[frozenset[str]], None]] = []
        self._backend, self._root, self._log = backend, root, log
        self._listeners: set[Listener] = set()
        self._nudged = asyncio.Event()
        self._loaded = asyncio.Event()
        self._polling = asyncio.Lock()
        self._asked_unwatched = 0.0
        self.prices: dict[str, float] = {}  # of an hour on each target that costs something

    def join(self, listener: Listener) -> None:
        """Wake `listener` at every change from now on."""
        self._listeners.add(listener)
        self.nudge()

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def nudge(self) -> None:
        """Something has just happened: look now."""
        self._nudged.set()

    @property
    def visible(self) -> bool:
        """Whether somebody looks."""
        return any(listener.visible for listener in self._listeners)

    async def fresh(self) -> None:
        """Return when the board holds what the store held when this was called. Raises what keeps it from that."""
        async with self._polling:
            await self._poll()

    async def loaded(self) -> None:
        """Return when the board holds all jobs, however long that takes."""
        await self._loaded.wait()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            pause = self._period()
            try:
                await self.fresh()
                self._set_trouble(None)
            except LeptonError as error:
                self._set_trouble(error)
                pause = _TROUBLE
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._nudged.wait(), pause)
            self._nudged.clear()

    def _period(self) -> float:
        return PERIODS[0] if self.visible else PERIODS[1] if self._listeners else PERIODS[2]

    async def _poll(self) -> None:
        after, first = self.board.number, not self.board.loaded
        ask = time.monotonic() - self._asked_unwatched >= _UNWATCHED_EVERY
        prices = await self._prices()
        if prices != self.prices:  # what jobs cost is another amount: all are made anew
            after, self.prices = 0, prices

        def look(store: JobStore) -> tuple[list[Entry], set[JobId] | None]:
            entries = [entry(change, self._root, prices) for change in store.watch(after)]
            return entries, store.unwatched() if ask or first else None

        entries, unwatched = await self._backend.store(look)
        also: list[str] = []
        for start in range(0, len(entries), _AT_ONCE):
            if start:
                await asyncio.sleep(0)  # thousands at the beginning: the loop is not held for all of them
            also += self._take(entries[start : start + _AT_ONCE], quietly=first)
        if unwatched is not None:
            self._asked_unwatched = time.monotonic()
            also += [found.job.job_id for found in self.board.set_unwatched(unwatched)]
            for told in self.on_unwatched:
                told(self.board.unwatched)
        if first:
            self.board.loaded = True
            self._loaded.set()
        if entries or also or first:
            self._wake(also)

    def _take(self, entries: Sequence[Entry], *, quietly: bool) -> list[str]:
        """Put changes on the board, and tell of them; the jobs that look different without a change."""
        before = [self.board.get(new.job.job_id) for new in entries]
        self.board.take(entries)
        also = []
        for old, new in zip(before, entries, strict=True):
            if old is not None and old.number == new.number:
                also.append(str(new.job.job_id))
            elif not quietly:
                for on_job in self.on_job:
                    on_job(old.job if old else None, new.job)
        return also

    async def _prices(self) -> dict[str, float]:
        """What an hour on each target costs; nothing when lepton.toml is broken, which is told elsewhere."""
        try:
            return await self._backend.config(
                lambda config: {
                    name: float(price)
                    for name, target in config.targets.items()
                    if isinstance(price := target.options.get("price_per_hour"), (int, float))
                }
            )
        except LeptonError:
            return {}

    def _set_trouble(self, error: LeptonError | None) -> None:
        if str(error or "") == str(self.trouble or ""):
            return
        self.trouble = error
        if error is not None:
            self._log.warning("lepton: %s", error)
        self._wake()

    def _wake(self, also: Iterable[str] = ()) -> None:
        for listener in self._listeners:
            listener.wake(also)
