"""``lepton/api/jobs/ID/…``: what a job put out and how it used its host. Runs in the Jupyter server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from ..job import Job, JobState
from ..outputs import outputs_text
from .encoding import encode
from .logs import part_of
from .results import Result
from .routes_jobs import JobHandler, whole_number

_T = TypeVar("_T")


class ResultHandler(JobHandler):
    """What the handlers of a job's outputs share."""

    async def result(self, given: str) -> tuple[Job, Result]:
        """The job, and its outputs so far. Raises what keeps them from us."""
        job = await self.job(given)
        return job, await self.parts.results.of(job)


class OutputsHandler(ResultHandler):
    """``jobs/ID/outputs``: its outputs as nbformat has them; ``?after=SEQ``: null if there were no events since."""

    @authenticated
    @authorized
    async def get(self, given: str) -> None:
        after = whole_number(self.get_query_argument("after", ""), "after")
        job, result = await self.result(given)
        outputs = None if after and after == result.seq else result.outputs
        about = {"outputs": outputs, "seq": result.seq, "state": _later(job, result).value}
        self.answer_json(await _apart(lambda: encode(about)))


class LogsHandler(ResultHandler):
    """``jobs/ID/logs``: what it printed, as text; ``?download=1`` without colours, as a file.

    ``?after=BYTES&digest=…``, as the headers ``X-Lepton-Settled`` and ``-Digest`` of the last answer said: what is new
    since. ``X-Lepton-After`` says where that begins: 0 if the log is another one.
    """

    @authenticated
    @authorized
    async def get(self, given: str) -> None:
        download = self.get_query_argument("download", "") not in ("", "0")
        after = whole_number(self.get_query_argument("after", ""), "after")
        digest = self.get_query_argument("digest", "")
        job, result = await self.result(given)
        self.set_header("X-Lepton-Seq", str(result.seq))
        self.set_header("X-Lepton-State", _later(job, result).value)
        if download:
            data = await _apart(lambda: outputs_text(result.outputs).encode("utf-8", "replace"))
            self.set_attachment_header(f"{job.job_id}.log")
        else:
            part = await _apart(lambda: part_of(result.outputs, after, digest))
            data = part.data
            for name, value in (("After", part.after), ("Settled", part.settled), ("Digest", part.digest)):
                self.set_header(f"X-Lepton-{name}", str(value))
        self.finish(data, set_content_type="text/plain; charset=utf-8")


class HistoryHandler(JobHandler):
    """``jobs/ID/history``: how it used its host."""

    @authenticated
    @authorized
    async def get(self, given: str) -> None:
        job = await self.job(given)
        history = await self.parts.backend.host(job.spec.target, lambda dispatcher: dispatcher.history(job.job_id))
        self.answer_json(await _apart(lambda: encode(history)))


def _later(job: Job, result: Result) -> JobState:
    """The events may be ahead of the store, or end before it when a host is gone."""
    return max(job.state, result.state, key=lambda state: state.rank)


async def _apart(make: Callable[[], _T]) -> _T:
    """What may take a moment, in a thread."""
    return await asyncio.to_thread(make)
