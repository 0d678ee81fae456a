"""The outputs of jobs, folded. Runs in the Jupyter server; the folding itself in the threads that bring the events.

A job that goes on is followed while somebody wants its outputs, or while nobody else follows it; asking again then
costs no question to its host. What a job that has ended put out is read from its journal on the host, and kept for a
moment, since the log, the artifacts and the write-back tend to ask one after another.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..errors import LinkLost, UnknownJob
from ..job import Job, JobState
from ..outputs import Fold, Output
from ..remote import Dispatcher, Run
from ..wire import Event, from_json
from .backend import PATIENCE, Backend
from .left import Left, LeftFile
from .workers import Workers

#: Seconds that a live job is followed after somebody asked for its outputs, and that an ended one's are kept.
_KEEP = 60.0
#: How many ended jobs' outputs are kept at most.
_MOST_KEPT = 4
#: Threads that attach to jobs: a host that does not answer holds one of them.
_ATTACHING = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """All outputs of a job up to event `seq`."""

    outputs: list[Output]
    seq: int
    state: JobState
    execution_count: int | None  # the number in the cell's brackets, None where nothing says it
    files: dict[str, LeftFile] = field(default_factory=dict)  # what it left on its host, by our ids
    variables: list[dict[str, Any]] = field(default_factory=list)
    unlisted: int = 0  # names of files and variables that it left besides


def _nothing(job: Job) -> Result:
    return Result(outputs=[], seq=0, state=job.state, execution_count=None)


class Folded:
    """A view that folds the events; it may be read while they come in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fold = Fold()
        self._left = Left()
        self._seq = 0
        self._state = JobState.NEW
        self._count: int | None = None

    def show(self, event: Event) -> None:
        with self._lock:
            self._fold.add(event)
            self._left.add(event)
            self._seq = event.seq
            if event.event == "state":
                self._state = JobState[event.fields["state"]]
            elif event.event == "reply":
                count = from_json(event.buffers[0]).get("execution_count")
                self._count = count if isinstance(count, int) else None

    def notice(self, text: str) -> None:
        """Nothing is shown, so nothing needs to be said."""

    def result(self) -> Result:
        with self._lock:
            return Result(
                outputs=self._fold.outputs(), seq=self._seq, state=self._state, execution_count=self._count,
                files=self._left.files(), variables=self._left.variables(), unlisted=self._left.unlisted,
            )  # fmt: skip


@dataclass(slots=True)
class _Followed:
    run: Run
    view: Folded
    wanted: float  # when somebody last asked for its outputs


class Results:
    """Follows jobs, and folds what they put out."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._workers = Workers("lepton attaching", _ATTACHING)
        self._attaching: dict[str, asyncio.Task[_Followed]] = {}
        self._followed: dict[str, _Followed] = {}
        self._kept: dict[str, tuple[float, Result]] = {}
        self._reading: dict[str, asyncio.Task[Result]] = {}

    def following(self, job_id: str) -> bool:
        """Whether this server gets the events of the job."""
        found = self._followed.get(job_id)
        return job_id in self._attaching or (found is not None and not found.run.over)

    async def follow(self, job_id: str, *, wanted: bool = False) -> Run:
        """Follow a job from its first event, to its end. Raises UnknownJob, ConfigError, TargetError, LinkLost."""
        found = self._followed.get(job_id)
        if found is None or found.run.lost is not None:
            task = self._attaching.get(job_id)
            if task is None:
                task = self._attaching[job_id] = asyncio.ensure_future(self._attach(job_id))
                task.add_done_callback(lambda done: self._attaching.pop(job_id, None))
            found = await asyncio.shield(task)
        if wanted:
            found.wanted = time.monotonic()
        return found.run

    async def of(self, job: Job) -> Result:
        """What the job has put out so far. Raises like `follow`, and LinkLost when the host does not answer."""
        if not job.native_id and (job.state is JobState.NEW or job.state.final):
            return _nothing(job)  # it is not placed yet, or never was
        found = self._followed.get(job.job_id)
        if found is None and job.state.final:
            return await self._of_ended(job)
        try:
            run = await asyncio.wait_for(self.follow(job.job_id, wanted=True), PATIENCE)
        except asyncio.TimeoutError:
            raise LinkLost(f"{job.spec.target} has not answered within {PATIENCE:.0f} s") from None
        except UnknownJob:
            if job.state is JobState.NEW:
                return _nothing(job)  # its kernel is known, and does not have it yet
            raise
        found = self._followed[job.job_id]

        def fold(_: Dispatcher) -> Result:
            run.wait_for(run.last)
            return found.view.result()

        return await self._backend.host(job.spec.target, fold)

    async def sweep(self, orphans: frozenset[str]) -> None:
        """Let go of jobs that have ended, are followed by somebody else too and no longer asked for, or are lost."""
        now = time.monotonic()
        for job_id, found in list(self._followed.items()):
            unwanted = now - found.wanted > _KEEP
            if found.run.lost is not None or (unwanted and (found.run.state.final or job_id not in orphans)):
                del self._followed[job_id]
                await self._workers.run(partial(self._leave, found.run))
        for job_id, (kept, _) in list(self._kept.items()):
            if now - kept > _KEEP:
                del self._kept[job_id]

    def close(self) -> None:
        for task in (*self._attaching.values(), *self._reading.values()):
            task.cancel()
        self._workers.close()

    def _leave(self, run: Run) -> None:
        self._backend.dispatcher().leave(run)

    async def _attach(self, job_id: str) -> _Followed:
        view = Folded()
        run = await self._workers.run(lambda: self._backend.dispatcher().attach(job_id, lambda run: view))
        found = self._followed[job_id] = _Followed(run, view, 0.0)
        return found

    async def _of_ended(self, job: Job) -> Result:
        kept = self._kept.get(job.job_id)
        if kept is not None and kept[1].seq >= job.seq:
            return kept[1]
        task = self._reading.get(job.job_id)
        if task is None:
            task = self._reading[job.job_id] = asyncio.ensure_future(self._read(job))
            task.add_done_callback(lambda done: self._reading.pop(job.job_id, None))
        return await asyncio.shield(task)

    async def _read(self, job: Job) -> Result:
        def read(dispatcher: Dispatcher) -> Result:
            view = Folded()
            for event in dispatcher.events(job.job_id):
                view.show(event)
            return view.result()

        result = await self._backend.host(job.spec.target, read)
        self._kept[job.job_id] = (time.monotonic(), result)
        while len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return result
