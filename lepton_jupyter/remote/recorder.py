"""Writes to the store what runs report, from a thread of its own: no cell waits for a disk to say it is done.

A process that is killed leaves the store a moment behind; whoever attaches to the job next brings it up to date.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from ..errors import LeptonError
from ..job import JobId, JobState
from ..store import JobStore

#: How often leases are renewed, and writes tried again that another writer's lease or the disk did not let through.
_RENEW_EVERY = 10.0
#: How long a report waits for others to be written with it: a short cell is one write, after it has ended.
_GATHER = 0.1
#: How often at most the store learns how far jobs are that go on.
_LATER_EVERY = 1.0


class Recorder:
    """The one writer of this process for the jobs it follows."""

    def __init__(self, store: JobStore, holder: str) -> None:
        self._store, self._holder = store, holder
        self._changed = threading.Condition()
        self._pending: dict[JobId, dict[str, Any]] = {}
        self._followed: dict[JobId, int] = {}  # job -> how many runs follow it here
        self._left: set[JobId] = set()
        self._later: dict[JobId, Callable[[], dict[str, Any]]] = {}
        self._gathering = self._writing = False
        self._asked = self._answered = 0  # flushes
        self._closed = False
        self._error: LeptonError | None = None
        self._thread: threading.Thread | None = None

    def follow(self, job_id: JobId) -> None:
        """Hold the job's lease from now until it is final or left, or take it as soon as it lapses."""
        with self._changed:
            self._followed[job_id] = self._followed.get(job_id, 0) + 1
            self._pending.setdefault(job_id, {})
            self._wake()

    def leave(self, job_id: JobId) -> None:
        """One of those who follow the job here follows it no longer; after the last one the lease is free."""
        with self._changed:
            others = self._followed.get(job_id, 0) - 1
            if others > 0:
                self._followed[job_id] = others
                return
            self._followed.pop(job_id, None)
            self._left.add(job_id)
            self._wake()

    def note(self, job_id: JobId, **changes: Any) -> None:
        """Have `changes` (those of `JobStore.advance`) written soon; later ones of the same key replace earlier."""
        with self._changed:
            self._pending.setdefault(job_id, {}).update(changes)
            self._wake()

    def later(self, job_id: JobId, make: Callable[[], dict[str, Any]]) -> None:
        """Have the changes that `make` returns then written, within a second or so; what is noted goes before them.

        `make` is called once, in the recorder's thread, and may call any method of a recorder.
        """
        with self._changed:
            self._later[job_id] = make
            self._wake()

    def flush(self) -> None:
        """Block until everything noted is written, or is another's to write. Raises what the store raised."""
        with self._changed:
            if self._thread is not None and (self._pending or self._later or self._writing):
                self._asked += 1
                mine = self._asked
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closed or self._answered >= mine)
            error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Write what is left and stop."""
        with self._changed:
            thread, self._closed = self._thread, True
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout=10)

    def _wake(self) -> None:
        """Have the thread look, unless it waits for more as it is: who reports is on the road of a cell."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lepton recorder", daemon=True)
            self._thread.start()
        elif not self._gathering:
            self._changed.notify_all()

    def _run(self) -> None:
        renewed = served = time.monotonic() - _LATER_EVERY
        held_back = dict[JobId, dict[str, Any]]()
        while True:
            with self._changed:
                self._await_work(renewed, served)
                due, self._pending, self._writing = self._pending, {}, True
                makers: dict[JobId, Callable[[], dict[str, Any]]] = {}
                if self._hurried or time.monotonic() - served >= _LATER_EVERY:
                    makers, self._later, served = self._later, {}, time.monotonic()
                left, self._left = self._left, set()
                makers |= {job_id: self._later.pop(job_id) for job_id in left & set(self._later)}
                answering, closed = self._asked, self._closed
            for job_id, make in makers.items():
                due[job_id] = make() | due.get(job_id, {})
            if closed or time.monotonic() - renewed > _RENEW_EVERY:
                renewed = time.monotonic()
                due = {job_id: {} for job_id in [*list(self._followed), *held_back]} | due
            for job_id, changes in due.items():
                changes = held_back.pop(job_id, {}) | changes
                if not self._write(job_id, changes):
                    held_back[job_id] = changes
            for job_id in left - set(self._followed):
                held_back.pop(job_id, None)
                self._release(job_id)
            with self._changed:
                self._writing, self._answered = False, answering
                self._changed.notify_all()
            if closed:
                self._release_all()
                return

    @property
    def _hurried(self) -> bool:
        return self._closed or self._asked > self._answered

    def _await_work(self, renewed: float, served: float) -> None:
        """Wait, under the lock, until there is something to write or leases are to be renewed."""
        while not (self._pending or self._left or self._hurried):
            until = renewed + _RENEW_EVERY if not self._later else min(renewed + _RENEW_EVERY, served + _LATER_EVERY)
            if (left := until - time.monotonic()) <= 0:
                break
            self._changed.wait(left)
        self._gathering = True
        self._changed.wait_for(lambda: self._hurried, _GATHER)
        self._gathering = False

    def _release_all(self) -> None:
        """Leave jobs that go on to whoever follows them next, without a wait for our leases to lapse."""
        for job_id in list(self._followed):
            self._release(job_id)

    def _release(self, job_id: JobId) -> None:
        with contextlib.suppress(LeptonError):
            self._store.release(job_id, self._holder)

    def _write(self, job_id: JobId, changes: dict[str, Any]) -> bool:
        """Whether `changes` are in the store, or need not be."""
        try:
            if not self._store.lease(job_id, self._holder):
                return False
            state: JobState | None = changes.get("state")
            if state is not None or "telemetry" in changes:
                changes = _without_old_news(self._store.get(job_id).state, changes)
            if changes:
                self._store.advance(job_id, self._holder, **changes)
            if state is not None and state.final:
                self._store.release(job_id, self._holder)
                with self._changed:
                    self._followed.pop(job_id, None)
            return True
        except LeptonError as error:
            self._error = error
            return False


def _without_old_news(known: JobState, changes: dict[str, Any]) -> dict[str, Any]:
    """What of `changes` says more than a job in the state `known` does; someone who looks at it again says little."""
    state: JobState | None = changes.get("state")
    dropped: set[str] = set()
    if state is not None and not known.may_become(state):
        dropped = set(changes) - {"seq", "telemetry"}
    if known.final and (state is None or not state.final):
        dropped |= {"telemetry"}
    return {name: value for name, value in changes.items() if name not in dropped}
