"""When a job's outputs are due to be brought home. Runs in Jupyter Server, on its event loop.

- A job ends: at once, whoever followed it.
- A page opens a notebook, is reloaded, or loses its kernel: what its jobs have so far, and from then on every two
  seconds, unless the cell there gets them from its kernel.
- What could not be done is tried again, ever more slowly, for as long as the server runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Mapping
from typing import Any

from ...errors import LeptonError, UnknownJob
from ...job import Job
from ...store import JobStore
from .record import NOTHING, is_home
from .writing import AskStore, Notebooks

#: Seconds between two writings of one job.
EVERY = 2.0
#: Seconds for a page to show the last outputs that its kernel sent before it is compared with the job.
_LAST_WORDS = 0.3
#: Seconds before what failed is tried again; doubled each time.
_AGAIN, _SLOWEST = 5.0, 300.0
#: Seconds for a page that was closed with unsaved outputs to come back (a reload) before the file is written.
_RELOAD = 6.0
#: Jobs that ended longer ago are not brought home when the server starts: their journals go after 30 days anyway.
_OLD = 3 * 86400.0


class Errands:
    """Keeps at most one writing of each job under way."""

    def __init__(self, notebooks: Notebooks, store: AskStore, log: logging.Logger, every: float = EVERY) -> None:
        self._notebooks, self._store, self._log, self._every = notebooks, store, log, every
        self._due: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asides: set[asyncio.Task[None]] = set()
        self._watching: set[str] = set()  # jobs that a page shows without getting them from its kernel
        self._seen: set[str] = set()  # jobs that were seen to run
        self._failed: dict[str, int] = {}
        notebooks.claims.on_open = self.on_open
        notebooks.claims.on_wrote = self.on_wrote
        notebooks.claims.on_drop = self.on_close

    def on_job(self, old: Job | None, new: Job) -> None:
        """A job changed."""
        if not new.spec.notebook:
            return
        if not new.state.final and not new.written and new.job_id not in self._seen:
            self._seen.add(new.job_id)
            self._aside(self._expect(new))
            self._set_due(new.job_id, _LAST_WORDS)  # a page that has it open notes in the cell which job it shows
        if new.state.final:
            if (old is None or not old.state.final) and not is_home(new.written):
                self._watching.discard(new.job_id)
                self._seen.discard(new.job_id)
                self._set_due(new.job_id, _LAST_WORDS)
        elif new.job_id in self._watching:
            self._set_due(new.job_id, 0.0)

    def on_open(self, path: str) -> None:
        """A page opened the notebook `path`, or its cells may have lost their kernel's messages."""
        self._aside(self._look_at(os.path.join(self._notebooks.root, path)))

    def on_wrote(self, message: Mapping[str, Any]) -> None:
        """A page says that it saved what it wrote before."""
        if message.get("saved") and isinstance(message.get("job"), str):
            self._aside(self._saved(message["job"]))

    def on_close(self) -> None:
        """A page is gone: outputs that it had not saved are to be written."""
        self._aside(self._look_later())

    def write_soon(self, job_id: str) -> None:
        """Bring the outputs of a job home at once: somebody asks for it."""
        self._set_due(job_id, 0.0)

    async def catch_up(self) -> None:
        """Bring home what ended while no server ran, and expect what runs."""
        expected, lost = await self._store(_left_over)  # in the store's thread: there may be thousands
        for job in expected:
            await self._expect(job)
        for job in lost:
            self._set_due(job.job_id, 0.0)

    async def close(self) -> None:
        """Stop; what is under way is left."""
        tasks = [*self._tasks.values(), *self._asides]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _set_due(self, job_id: str, delay: float) -> None:
        when = asyncio.get_running_loop().time() + delay
        self._due[job_id] = min(when, self._due.get(job_id, when))
        if job_id not in self._tasks:
            task = self._tasks[job_id] = asyncio.ensure_future(self._run(job_id))
            task.add_done_callback(lambda done: self._tasks.pop(job_id, None))

    async def _run(self, job_id: str) -> None:
        loop = asyncio.get_running_loop()
        while (when := self._due.get(job_id)) is not None:
            if (pause := when - loop.time()) > 0:
                await asyncio.sleep(min(pause, 0.2))  # it may become due earlier meanwhile
                continue
            del self._due[job_id]
            started = loop.time()
            try:
                await self._write(job_id)
            except UnknownJob:
                return
            except LeptonError as error:
                self._log.info("lepton: the outputs of job %s cannot be had now: %s", job_id, error.message)
                self._try_again(job_id)
            await asyncio.sleep(max(0.0, self._every - (loop.time() - started)) if job_id in self._watching else 0)

    async def _write(self, job_id: str) -> None:
        job: Job = await self._store(lambda store: store.get(job_id))
        written = await self._notebooks.write(job)
        if not written.final:
            if written.state == "written":
                self._watching.add(job_id)
            else:
                self._watching.discard(job_id)
        elif written.state in ("waiting", "failed"):
            self._try_again(job_id)
        else:
            self._failed.pop(job_id, None)

    def _try_again(self, job_id: str) -> None:
        tries = self._failed[job_id] = self._failed.get(job_id, 0) + 1
        self._set_due(job_id, min(_AGAIN * 2 ** (tries - 1), _SLOWEST))

    async def _look_at(self, notebook: str) -> None:
        with contextlib.suppress(LeptonError):
            jobs = await self._store(lambda store: store.list(notebook=notebook, limit=0))
            newest: dict[str, Job] = {}
            for job in jobs:  # newest first
                newest.setdefault(job.spec.cell_id or job.job_id, job)
            for job in newest.values():
                if not job.state.final or (job.written and not is_home(job.written)):
                    self._set_due(job.job_id, 0.0)

    async def _expect(self, job: Job) -> None:
        """Note that a server has seen this job run, so that its outputs are brought home even if it ends unseen."""
        with contextlib.suppress(LeptonError):
            await self._store(lambda store: store.note_written(job.job_id, NOTHING))

    async def _look_later(self) -> None:
        await asyncio.sleep(_RELOAD)
        with contextlib.suppress(LeptonError):
            for job in await self._store(_unsaved):
                self._set_due(job.job_id, 0.0)

    async def _saved(self, job_id: str) -> None:
        with contextlib.suppress(LeptonError):
            await self._notebooks.pages_saved(job_id)

    def _aside(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)


def _left_over(store: JobStore) -> tuple[list[Job], list[Job]]:
    """The jobs that run and that no server has seen yet, and those that ended lately and are not home."""
    jobs = [job for job in store.list(limit=0) if job.spec.notebook]
    expected = [job for job in jobs if not job.state.final and not job.written]
    lost = [job for job in jobs if job.state.final and job.written and not is_home(job.written)]
    return expected, [job for job in lost if time.time() - (job.ended or job.created) < _OLD]


def _unsaved(store: JobStore) -> list[Job]:
    return [
        job
        for job in store.list(limit=200)
        if job.state.final and job.written.get("state") == "written" and not job.written.get("saved", True)
    ]
