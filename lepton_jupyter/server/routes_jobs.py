"""``lepton/api/jobs…``: the jobs, and what can be done with them. Runs in the Jupyter server."""

from __future__ import annotations

import asyncio
import dataclasses

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from ..config import nearest
from ..errors import ConfigError, JobError, LeptonError, UnknownJob
from ..job import Job, JobState
from ..remote import Dispatcher, Run
from ..store import Change
from ..wire import Event
from .board import contents_path, entry
from .encoding import encode
from .handlers import LeptonHandler

#: Jobs in one answer, unless the request says how many.
_LIMIT = 100


class JobHandler(LeptonHandler):
    """What the handlers of one job share."""

    async def job(self, given: str) -> Job:
        """The job that the address names, whole. Raises UnknownJob, LeptonError."""
        job_id = self.job_id(given)
        job = await self.parts.backend.store(lambda store: store.get(job_id))
        if job.job_id != job_id:  # the store completes the beginning of an id
            raise UnknownJob(f"there is no job {job_id!r}")
        return job


class JobsHandler(LeptonHandler):
    """``jobs``: the newest jobs."""

    @authenticated
    @authorized
    async def get(self) -> None:
        notebook, target = self.get_query_argument("notebook", ""), self.get_query_argument("target", "")
        states, limit = _states(self.get_query_argument("state", "")), _limit(self.get_query_argument("limit", ""))
        await self.parts.hub.fresh()
        board = self.parts.hub.board
        root = self.parts.root

        def wanted(job: Job) -> bool:
            here = not notebook or notebook in (job.spec.notebook, contents_path(job.spec.notebook, root))
            return here and (not target or job.spec.target == target) and (not states or job.state in states)

        found = board.newest_first(wanted)
        shown = found[:limit] if limit else found
        self.answer_json(f'{{"jobs":{board.jobs_json(shown)},"total":{len(found)}}}')


class OneJobHandler(JobHandler):
    """``jobs/ID``: a job with its code, and with all points of its curve."""

    @authenticated
    @authorized
    async def get(self, given: str) -> None:
        await self.parts.hub.fresh()
        job = await self.job(given)
        shown = entry(Change(number=0, job=job), self.parts.root, self.parts.hub.prices, whole=True)
        watched = job.job_id not in self.parts.hub.board.unwatched
        self.answer_json(f'{shown.json(watched)[:-1]},"code":{encode(job.spec.code)}}}')


class CancelHandler(JobHandler):
    """``jobs/ID/cancel``: stop it for good."""

    @authenticated
    @authorized
    async def post(self, given: str) -> None:
        job = await self.job(given)
        words = await self.parts.backend.host(job.spec.target, lambda dispatcher: dispatcher.cancel(job.job_id))
        self.parts.hub.nudge()
        self.answer({"words": words})


class RetryHandler(JobHandler):
    """``jobs/ID/retry``: run its cell once more, on another target if the body names one."""

    @authenticated
    @authorized
    async def post(self, given: str) -> None:
        job = await self.job(given)
        if not job.spec.code:
            raise JobError("this job's code is not known here; it was started from another machine")
        target = self.body().get("target") or job.spec.target
        if not isinstance(target, str):
            raise ConfigError("the target must be a name, in quotes")
        await self.parts.backend.config(lambda config: config.target(target))
        spec = dataclasses.replace(job.spec, target=target)
        loop = asyncio.get_running_loop()
        made: asyncio.Future[str] = loop.create_future()

        def tell(job_id: str) -> None:
            if not made.done():
                made.set_result(job_id)

        def view(run: Run) -> _Unseen:
            loop.call_soon_threadsafe(tell, run.job_id)
            return _Unseen()

        def start(_: Dispatcher) -> None:
            self.parts.backend.dispatcher_beside(spec.notebook).run(spec, view, allow_stdin=True)

        # From here on the job itself tells how it goes: a host that is slow to take it keeps nobody waiting.
        placing = asyncio.ensure_future(self.parts.backend.host(target, start, patience=3600.0))
        placing.add_done_callback(lambda done: _settle(done, made))
        self.answer({"id": await made})
        self.parts.hub.nudge()


class WriteHandler(JobHandler):
    """``jobs/ID/write``: put its outputs into its notebook now."""

    @authenticated
    @authorized
    async def post(self, given: str) -> None:
        job = await self.job(given)
        written = await self.parts.notebooks.write(job)
        self.parts.hub.nudge()
        self.answer(written.as_json())


class _Unseen:
    """A view of a job that nobody sees here: its outputs are in its journal, and go home by the write-back."""

    def show(self, event: Event) -> None:
        """Nothing is shown."""

    def notice(self, text: str) -> None:
        """Nothing is shown."""


def _settle(placing: asyncio.Future[None], made: asyncio.Future[str]) -> None:
    """A job that could not be placed failed in the store; one that was never made is the request's own failure."""
    error = None if placing.cancelled() else placing.exception()
    if not made.done():
        made.set_exception(error if error is not None else LeptonError("the server stops"))


def _states(text: str) -> frozenset[JobState]:
    words = [word.strip().upper() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in JobState.__members__:
            raise ConfigError(f"{word!r} is no state of a job", hint=nearest(word, JobState.__members__))
    return frozenset(JobState[word] for word in words)


def _limit(text: str) -> int:
    return whole_number(text, "limit", hint="0 means all.") if text else _LIMIT


def whole_number(text: str, name: str, hint: str = "") -> int:
    """The whole number that an argument is, 0 for none. Raises ConfigError."""
    if text and (not text.isascii() or not text.isdigit() or len(text) > 15):
        raise ConfigError(f"{name}={text!r} is no whole number", hint=hint)
    return int(text or 0)
