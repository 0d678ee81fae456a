"""``lepton/api/jobs/ID/artifacts…``: what a job displayed and what it left, as files. Runs in the Jupyter server."""

from __future__ import annotations

import asyncio

from jupyter_server.auth.decorator import authorized
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, authenticated

from ..job import Job
from .artifacts import artifacts
from .left import LeftFile
from .routes_outputs import ResultHandler

#: Bytes of a file that are in memory at a time.
_PIECE = 1 << 20


class ArtifactsHandler(ResultHandler):
    """``jobs/ID/artifacts``: its files, the variables it left, and how many of both it has besides."""

    @authenticated
    @authorized
    async def get(self, given: str) -> None:
        _, result = await self.result(given)
        displayed = await asyncio.to_thread(lambda: [file.as_json() for file in artifacts(result.outputs)])
        left = [file.as_json() for file in result.files.values()]
        told = {"artifacts": [*displayed, *left], "variables": result.variables}
        self.answer({**told, "unlisted": result.unlisted})


class ArtifactHandler(ResultHandler):
    """``jobs/ID/artifacts/FILE``, by its id: one of these files, to be saved and never shown by us."""

    @authenticated
    @authorized
    async def get(self, given: str, file_id: str) -> None:
        job, result = await self.result(given)
        left = result.files.get(file_id)
        if left is not None:
            await self._send(job, left)
            return
        displayed = await asyncio.to_thread(
            lambda: next((file for file in artifacts(result.outputs) if file.name == file_id), None)
        )
        if displayed is None:
            raise _no_such_file()
        self.set_attachment_header(displayed.name)
        self.finish(displayed.data, set_content_type=displayed.content_type)

    @authenticated
    @authorized
    async def post(self, given: str, file_id: str) -> None:
        """Bring a file that the job left from its host, so that it is here to be got. Says in words when that fails."""
        job, result = await self.result(given)
        left = result.files.get(file_id)
        if left is None:
            raise _no_such_file()
        await self.parts.fetching.bring(job, left)
        self.answer({})

    async def _send(self, job: Job, left: LeftFile) -> None:
        with await self.parts.fetching.open(job, left) as file:
            self.set_attachment_header(left.file_name)
            self.set_header("Content-Type", "application/octet-stream")
            self.set_header("Content-Length", str(left.size))
            try:
                while piece := await asyncio.to_thread(file.read, _PIECE):
                    self.write(piece)
                    await self.flush()
            except StreamClosedError:  # whoever asked has gone
                return
        self.finish(set_content_type="application/octet-stream")


def _no_such_file() -> HTTPError:
    return HTTPError(404, log_message="this job has no such file")
