"""Files that jobs left are brought from their hosts into the user's blob store. Runs in the Jupyter server.

In threads of their own, so that gigabytes on their way keep nobody waiting who asks a host something else; two for each
target, so that one that does not answer keeps no other waiting.
"""

from __future__ import annotations

import asyncio
import collections
from functools import partial
from typing import BinaryIO

from ..errors import BlobDamaged, BlobMissing
from ..job import Job
from .backend import Backend
from .left import LeftFile
from .workers import Workers

_PER_TARGET = 2


class Fetching:
    """Brings each file once, however many ask for it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._workers = collections.defaultdict[str, Workers](lambda: Workers("lepton fetching", _PER_TARGET))
        self._coming: dict[str, asyncio.Task[None]] = {}

    async def bring(self, job: Job, file: LeftFile) -> None:
        """Have the blob store hold it; one that broke off before goes on where it stopped.

        Raises BlobMissing when its host does not keep it any more, TargetError, LinkLost, and what the disk refuses.
        """
        task = self._coming.get(file.digest)
        if task is None:
            fetch = partial(self._fetch, job, file)
            task = self._coming[file.digest] = asyncio.ensure_future(self._workers[job.spec.target].run(fetch))
            task.add_done_callback(lambda done: self._coming.pop(file.digest, None))
        await asyncio.shield(task)

    async def open(self, job: Job, file: LeftFile) -> BinaryIO:
        """Its bytes, verified, to be read and closed; they stay readable when the store lets go of them. As `bring`."""
        await self.bring(job, file)
        return await asyncio.to_thread(self._open, file)

    def close(self) -> None:
        for task in self._coming.values():
            task.cancel()
        for workers in self._workers.values():
            workers.close()

    def _fetch(self, job: Job, file: LeftFile) -> None:
        dispatcher = self._backend.dispatcher()
        if dispatcher.blobs.has(file.digest, file.size):
            return
        try:
            dispatcher.fetch(job.job_id, {file.digest: file.size}, lambda done, total: None)
        except BlobDamaged:
            raise
        except BlobMissing:
            hint = f"It is kept in {file.url}." if file.url else "Run the cell again: it makes it anew."
            raise BlobMissing(f"{job.spec.target} does not keep {file.shown} any more", hint=hint) from None

    def _open(self, file: LeftFile) -> BinaryIO:
        return open(self._backend.dispatcher().blobs.path(file.digest), "rb")
