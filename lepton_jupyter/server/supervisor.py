"""Follows the jobs that nobody follows, so that they go on in the store when their notebook's kernel is gone.

Runs in the Jupyter server, on its event loop; attaching is done by threads. The right to write a job is a lease that
lapses when its holder dies, so this needs no word from the kernel that was killed. A host that cannot be reached is
tried again, ever more seldom.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field

from ..errors import JobError, LeptonError, UnknownJob
from ..job import Job, JobState
from ..store import JobStore
from .backend import Backend
from .hub import Hub
from .results import Results

#: Seconds between two looks for orphans.
EVERY = 1.0
#: Seconds that a job must have been without a follower: one hands over to the next, or has only just been made.
_GRACE = 3.0
#: Seconds until the next attempt, by the number of those that failed.
_BACKOFF = (2.0, 5.0, 15.0, 60.0, 300.0)
#: A job that never got a kernel is given up when it is older than this, in seconds: its sender died before sending it.
_UNSENT = 60.0
#: So often a host says that it does not know a job before it is believed.
_UNKNOWN = 3
_HOLDER = "server-verdict"


@dataclass(slots=True)
class _Tries:
    failures: int = 0
    unknown: int = 0
    due: float = 0.0
    task: asyncio.Task[None] | None = None
    since: float = field(default_factory=time.monotonic)  # when nobody was seen to follow it

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()


class Supervisor:
    """Takes over what the hub reports as unwatched."""

    def __init__(self, backend: Backend, hub: Hub, results: Results, log: logging.Logger) -> None:
        self._backend, self._hub, self._results, self._log = backend, hub, results, log
        self._tries: dict[str, _Tries] = {}
        self._ours: set[str] = set()  # taken over: followed to their end
        self._taken: set[str] = set()  # all that were ever taken over

    async def run(self) -> None:
        """Look for orphans until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            with contextlib.suppress(LeptonError, RuntimeError):
                await self._look()

    def orphaned(self, job_id: str) -> bool:
        """Whether a job lost the kernel that had started it, as far as this server has seen."""
        return job_id in self._taken

    def close(self) -> None:
        for tries in self._tries.values():
            if tries.task is not None:
                tries.task.cancel()

    async def _look(self) -> None:
        board = self._hub.board
        live: dict[str, Job] = {entry.job.job_id: entry.job for entry in board.live}
        self._ours &= live.keys()
        for job_id in self._tries.keys() - (board.unwatched & live.keys()):
            if not self._tries[job_id].busy:
                del self._tries[job_id]
        for job_id in board.unwatched & live.keys():
            tries = self._tries.setdefault(job_id, _Tries())
            due = time.monotonic() >= max(tries.due, tries.since + _GRACE)
            if due and not tries.busy and not self._results.following(job_id):
                tries.task = asyncio.ensure_future(self._take_over(live[job_id], tries))
        await self._results.sweep(frozenset(self._ours))

    async def _take_over(self, job: Job, tries: _Tries) -> None:
        try:
            await self._results.follow(job.job_id)
        except UnknownJob as error:
            tries.unknown += 1
            never_sent = job.state is JobState.NEW and not job.native_id and time.time() - job.created > _UNSENT
            if never_sent or tries.unknown >= _UNKNOWN:
                await self._give_up(job, never_sent)
            self._again(job, tries, error)
        except LeptonError as error:
            self._again(job, tries, error)
        else:
            tries.failures = tries.unknown = 0
            tries.due = time.monotonic() + _BACKOFF[0]
            self._ours.add(job.job_id)
            self._taken.add(job.job_id)
            self._log.info("lepton: job %s on %s is followed from here", job.job_id, job.spec.target)
            self._hub.nudge()

    def _again(self, job: Job, tries: _Tries, error: LeptonError) -> None:
        pause = _BACKOFF[min(tries.failures, len(_BACKOFF) - 1)]
        tries.failures += 1
        tries.due = time.monotonic() + pause
        self._log.debug("lepton: job %s cannot be followed, again in %.0f s: %s", job.job_id, pause, error)

    async def _give_up(self, job: Job, never_sent: bool) -> None:
        """The job's host does not know it: nobody will ever learn more."""
        cause = (
            "it never reached its target: the kernel of its notebook ended first"
            if never_sent
            else f"{job.spec.target} does not know this job any more: its files there were removed"
        )

        def end(store: JobStore) -> None:
            if store.lease(job.job_id, _HOLDER):
                with contextlib.suppress(JobError):  # somebody was faster
                    store.advance(job.job_id, _HOLDER, state=JobState.FAILED, cause=cause, ended=time.time())
                store.release(job.job_id, _HOLDER)

        await self._backend.store(end)
        self._hub.nudge()
