"""Decides who writes a job's outputs into its notebook, has it done, and notes it with the job.

Runs in Jupyter Server, on its event loop.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from tornado.web import HTTPError

from ...errors import UnknownJob
from ...job import Job
from ...outputs import Output
from ...store import JobStore
from ..board import contents_path
from .cells import GONE, RAN_AGAIN, Content
from .claims import Claims
from .document import feeds_itself, mark_running, open_document, write_document
from .file import write_file
from .inert import inert
from .limits import within_limits
from .record import Written, is_news, report
from .tab import PATIENCE, find_live, write_by_tab

_T = TypeVar("_T")

#: How often a shared document is looked at before it is taken for complete or not: pages send their part late.
_LOOKS, _LOOK_EVERY = 6, 0.5
#: Seconds after which a shared document that we wrote is looked at once more.
_SETTLE = 1.5


class Folded(NamedTuple):
    """A job's outputs as they are now."""

    outputs: Sequence[Output]
    seq: int  # the last event in them
    execution_count: int | None = None


class AskStore(Protocol):
    """Runs a function of the store in a thread, as `server.backend.Backend.store` does."""

    def __call__(self, use: Callable[[JobStore], _T], /) -> Awaitable[_T]: ...


class Notebooks:
    """Writes jobs into notebooks. `fold` gives a job's outputs; `root` is the folder that the server shows.

    `attached` says how many front ends are connected to the kernel of a notebook, None when it has none; `orphaned`
    whether a job lost the kernel that had started it; `card` draws the card of a job that is over.
    """

    def __init__(
        self,
        *,
        contents: Any,
        settings: Mapping[str, Any],
        root: str,
        claims: Claims,
        fold: Callable[[Job], Awaitable[tuple[Sequence[Output], int] | tuple[Sequence[Output], int, int | None]]],
        store: AskStore,
        log: logging.Logger,
        attached: Callable[[str], Awaitable[int | None]] | None = None,
        orphaned: Callable[[str], bool] = lambda job_id: False,
        card: Callable[[Job], Mapping[str, Any]] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.claims, self.root = claims, root
        self._contents, self._settings, self._fold, self._store, self._log = contents, settings, fold, store, log
        self._attached, self._orphaned, self._card, self._patience = attached, orphaned, card, patience
        self._turns: collections.defaultdict[str, asyncio.Lock] = collections.defaultdict(asyncio.Lock)
        self._moved: dict[str, str] = {}  # where notebooks went that this server saw being moved, by their old path

    async def write(self, job: Job) -> Written:
        """Bring the job's outputs so far into its notebook, and note with the job what became of it.

        Raises LeptonError when its outputs cannot be had (unreachable host, store).
        """
        async with self._turns[job.spec.notebook]:
            written = await self._without_outputs(job)
            if written is None:
                folded = Folded(*await self._fold(job))
                widgets = await self._has_widgets(job)
                outputs = await asyncio.to_thread(within_limits, folded.outputs, job.job_id, widgets=widgets)
                harmless = await asyncio.to_thread(inert, outputs)
                card = self._card(job) if self._card is not None and job.state.final else None
                content = _content(
                    job, outputs, folded.seq, count=folded.execution_count, harmless=harmless, card=card
                )  # fmt: skip
                written = await self._write(job, content)
        now = written.as_json()
        if written.state != "live" and is_news(job.written, now):
            with contextlib.suppress(UnknownJob):
                await self._store(lambda store: store.note_written(job.job_id, now))
        return written

    async def pages_saved(self, job_id: str) -> None:
        """A page says that what it wrote is in the file now."""
        with contextlib.suppress(UnknownJob):
            job = await self._store(lambda store: store.get(job_id))
            if job.written.get("state") == "written" and not job.written.get("saved", True):
                saved = {**job.written, "saved": True, "time": time.time()}
                await self._store(lambda store: store.note_written(job_id, saved))

    async def moved(self, old: str, new: str) -> None:
        """The notebook or folder `old` (paths of the contents API) is `new` now: its jobs go with it."""
        before, after = os.path.join(self.root, old.strip("/")), os.path.join(self.root, new.strip("/"))
        self._moved = {path: _replaced(where, before, after) or where for path, where in self._moved.items()}
        self._moved[before] = after
        self._moved.pop(after, None)

        def follow(store: JobStore) -> None:
            jobs = store.list(limit=0)
            paths = {job.job_id: _replaced(job.spec.notebook, before, after) for job in jobs}
            store.move_notebooks({job_id: path for job_id, path in paths.items() if path is not None})

        await self._store(follow)

    async def _without_outputs(self, job: Job) -> Written | None:
        """What can be said before the outputs are fetched from the host, else None."""
        probe = _content(job, (), job.seq)
        if await self._newer(job):
            return report(probe, "gone", words=RAN_AGAIN)
        path = contents_path(job.spec.notebook, self.root)
        if path is None:
            return report(probe, "waiting", words="the notebook is outside this server's folder", saved=False)
        claims = self.claims.of(path)
        shared = bool(claims) and all(claim.shared for _, claim in claims)
        if not probe.final and not claims:
            return report(probe, "waiting", saved=False)
        if not probe.final and shared and feeds_itself(self._settings):
            document = await open_document(self._settings, path)
            if document is not None:
                mark_running(document, job.job_id, job.spec.code)
            return report(probe, "live", how="document", saved=False)
        live = await find_live(self.claims, path, probe)
        if live is not None and not probe.final:
            return report(probe, "live", how="tab", saved=False)
        if live is not None and live[1].get("whole") and not shared:
            return report(probe, "written", how="tab", saved=bool(live[1].get("saved")))
        return None

    async def _write(self, job: Job, content: Content) -> Written:
        written = report(content, "gone", words=GONE)
        for place in [job.spec.notebook, *self._later(job.spec.notebook)]:
            path = contents_path(place, self.root)
            written = written if path is None else await self._write_at(path, content)
            if written.state != "gone":
                if place != job.spec.notebook:  # its kernel was started when the notebook had another name
                    paths = {str(job.job_id): place}
                    await self._store(lambda store: store.move_notebooks(paths))  # noqa: B023 - called at once
                break
        return written

    async def _write_at(self, path: str, content: Content) -> Written:
        claims = self.claims.of(path)
        if all(claim.shared for _, claim in claims):  # also when nobody claims it: it may be open for a while still
            document = await open_document(self._settings, path)
            if document is not None:
                return await self._write_document(document, path, content)
        if claims:
            answer = await write_by_tab(self.claims, path, content, self._patience)
            if answer is not None:
                words = RAN_AGAIN if answer.get("why") == "again" else GONE if answer["state"] == "gone" else ""
                return report(content, str(answer["state"]), how="tab", words=words, saved=bool(answer.get("saved")))
        elif self._attached is not None and (await self._attached(path) or 0) > 0:
            return report(content, "waiting", words="open in a page without the Lepton extension", saved=False)
        if not content.final:
            return report(content, "waiting", saved=False)
        return await self._write_file(path, content)

    async def _write_file(self, path: str, content: Content) -> Written:
        try:
            filed = await write_file(self._contents, path, content)
        except HTTPError as error:
            words = f"{path}: {error.log_message or error.reason or error}"
            return report(content, "failed", how="file", words=words, saved=False)
        if filed.state in ("gone", "missing"):
            words = GONE if filed.state == "gone" else "notebook gone – open result"
            return report(content, "gone", how="file", words=words, saved=False)
        if filed.state == "written":
            self.claims.tell_saved(path, filed.hash)
        return report(content, "written", how="file")

    async def _write_document(self, document: Any, path: str, content: Content) -> Written:
        fed = feeds_itself(self._settings) or await find_live(self.claims, path, content) is not None
        if content.final and fed:
            for _ in range(_LOOKS):  # the page's own outputs may still be on their way
                if await write_document(document, content, only_look=True) == "there":
                    break
                await asyncio.sleep(_LOOK_EVERY)
        state = await write_document(document, content)
        if state == "written" and content.final:
            await asyncio.sleep(_SETTLE)
            state = await write_document(document, content)
        if state == "gone":
            return report(content, "gone", how="document", words=GONE, saved=False)
        return report(content, "written", how="document")

    async def _has_widgets(self, job: Job) -> bool:
        """Whether the models of the job's widgets live: they do in the kernel that started it, while it lives."""
        path = contents_path(job.spec.notebook, self.root)
        if path is None or self._orphaned(job.job_id) or self.claims.lost_at(path) > job.created:
            return False
        return self._attached is None or await self._attached(path) is not None

    async def _newer(self, job: Job) -> bool:
        """Whether the same cell was run again, so that its place belongs to another job."""
        if not job.spec.cell_id:
            return False
        same = await self._store(lambda store: store.list(notebook=job.spec.notebook, limit=0))
        return any(
            other.spec.cell_id == job.spec.cell_id and other.created > job.created and other.job_id != job.job_id
            for other in same
        )

    def _later(self, notebook: str) -> list[str]:
        """Where the notebook went, if this server saw it: its kernel still knows it by its first name."""
        places = (_replaced(notebook, old, new) for old, new in self._moved.items())
        return [place for place in places if place is not None]


def _content(
    job: Job, outputs: Sequence[Output], seq: int, *, count: int | None = None, harmless: bool = True,
    card: Mapping[str, Any] | None = None,
) -> Content:  # fmt: skip
    return Content(
        job_id=job.job_id, cell_id=job.spec.cell_id, created=job.created, outputs=outputs, seq=seq,
        final=job.state.final, execution_count=count, inert=harmless, card=card,
    )  # fmt: skip


def _replaced(path: str, old: str, new: str) -> str | None:
    """`path` after `old` became `new`; None when it is not in there."""
    if path == old:
        return new
    return new + path[len(old) :] if path.startswith(old + "/") else None
