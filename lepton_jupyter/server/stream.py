"""The one WebSocket of a page: what it is told, and what it says. Runs in the Jupyter server, on its event loop.

A page that looks gets a snapshot and then numbered changes; one that returns gets what changed since its number. A
hidden page gets a summary, seldom. A page that reads slowly is not sent more than it takes: what is still to be said is
not kept as messages but as "this is how far it is", so that nothing grows.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, Protocol

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError

from ..errors import LeptonError
from .board import Board, Entry
from .encoding import encode
from .hub import Hub
from .targets import Targets, kernels_of

#: Jobs in one message: a page takes them in without a halt, the loop is not held.
CHUNK = 200
#: Seconds between two summaries, and between two of which the later has another number of jobs.
SUMMARY_EVERY, COUNTS_EVERY = 5.0, 1.0
_COUNTS = ("running", "queued", "failed_since")
#: Messages of the write-back that may wait for a page; one that takes none of them is cut off.
_MOST_WAITING = 1_000
#: What a page may have on screen; more is no page of ours.
_MOST_LOOKS = 200


class Claims(Protocol):
    """Who has which notebook open: the write-back's."""

    def update(self, client: Any, notebooks: Iterable[Mapping[str, Any]]) -> None: ...

    def drop(self, client: Any) -> None: ...

    def wrote(self, client: Any, message: Mapping[str, Any]) -> None: ...


class Socket(Protocol):
    """The open WebSocket."""

    def write_message(self, message: bytes) -> Awaitable[None]: ...

    def close(self, code: int | None = None, reason: str | None = None) -> None: ...


class Client:
    """A page, from its hello to its end."""

    def __init__(self, socket: Socket, hub: Hub, targets: Targets, claims: Claims, log: logging.Logger) -> None:
        self.visible = False
        self.jobs: frozenset[str] = frozenset()  # on its screen
        self._socket, self._hub, self._targets, self._claims, self._log = socket, hub, targets, claims, log
        self._number: int | None = None  # of the last change it was told; None before its snapshot
        self._greeted = False
        self._away_since = time.time()
        self._also: set[str] = set()
        self._outbox: collections.deque[dict[str, Any]] = collections.deque()
        self._samples: dict[str, dict[str, Any]] = {}
        self._summary: dict[str, Any] = {}
        self._summary_at = 0.0
        self._pause = SUMMARY_EVERY  # until the next summary is due
        self._targets_due = False
        self._kernels: Mapping[str, int] = {}  # how many on each target, as it was told
        self._trouble = ""
        self._news = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    def close(self) -> None:
        """The page is gone."""
        self._task.cancel()
        self._hub.leave(self)
        self._targets.leave(self)
        self._claims.drop(self)

    # what the page is told

    def send(self, message: dict[str, Any]) -> None:
        """Tell the page this, in order; dropped when it is gone."""
        if len(self._outbox) >= _MOST_WAITING:
            self._socket.close(1013, "this page does not read")
            return
        self._outbox.append(message)
        self._news.set()

    def wake(self, also: Iterable[str] = ()) -> None:
        """There is news on the board, and these jobs look different without a change."""
        self._also.update(also)
        self._news.set()

    def sampled(self, target: str, sample: Mapping[str, Any], latency: float | None) -> None:
        self._samples[target] = {"type": "sample", "target": target, "sample": sample, "latency": latency}
        self._news.set()

    def linked(self, target: str, link: str, words: str) -> None:
        if self.visible:
            self.send({"type": "link", "target": target, "link": link, "words": words})

    def targets_changed(self) -> None:
        """The targets' configuration may be another."""
        self._targets_due = True
        self._news.set()

    # what the page says

    def hear(self, text: str | bytes) -> None:
        """One message from the page; what makes no sense is left out, and said in the log."""
        try:
            message = json.loads(text)
            say = getattr(self, f"_on_{message['type']}", None) if isinstance(message["type"], str) else None
        except (ValueError, TypeError, KeyError, RecursionError):
            say = None
        if say is None:
            self._log.debug("lepton: a page sent a message that makes no sense: %.200r", text)
            return
        say(message)
        self._news.set()

    def _on_hello(self, message: Mapping[str, Any]) -> None:
        self._number = _number(message.get("after"))
        self._greeted = True
        self.visible = bool(message.get("visible"))
        self._targets_due, self._summary = True, {}
        self._hub.join(self)

    def _on_visible(self, message: Mapping[str, Any]) -> None:
        was, self.visible = self.visible, bool(message.get("visible"))
        if self.visible and not was:
            if "after" in message:
                self._number = _number(message["after"])
            self._targets_due = True
            self._hub.nudge()
        elif was and not self.visible:
            self._away_since = time.time()
            self._on_look({})

    def _on_look(self, message: Mapping[str, Any]) -> None:
        self.jobs = _names(message.get("jobs"))
        self._targets.look(self, _names(message.get("targets")))
        if not message.get("targets"):
            self._samples.clear()

    def _on_notebooks(self, message: Mapping[str, Any]) -> None:
        listed = message.get("open")
        self._claims.update(self, listed if isinstance(listed, list) else [])

    def _on_wrote(self, message: Mapping[str, Any]) -> None:
        self._claims.wrote(self, message)

    # the sending

    async def _run(self) -> None:
        """Say what is to be said, one message after another, as fast as the page takes them."""
        with contextlib.suppress(WebSocketClosedError, StreamClosedError):
            while True:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._news.wait(), self._pause)
                self._news.clear()
                self._pause = SUMMARY_EVERY
                await self._say_all()

    async def _say_all(self) -> None:
        while self._outbox:
            message = self._outbox.popleft()
            heavy = message.get("type") == "write"  # it may hold megabytes of outputs
            await self._say(await asyncio.to_thread(encode, message) if heavy else encode(message))
        if not self._greeted:
            return
        await self._say_trouble()
        if not self._hub.board.loaded:
            return
        if self.visible:
            await self._say_jobs(self._hub.board)
            if self._targets_due:
                self._targets_due = False
                await self._say_targets()
            await self._say_kernels()
            while self._samples:
                _, message = self._samples.popitem()
                await self._say(encode(message))
        await self._say_summary()

    async def _say_jobs(self, board: Board) -> None:
        if self._number is None or self._number > board.number:  # new here, or its numbers are another store's
            await self._say_chunks(board, board.newest_first(), after=0, reset=True)
            return
        entries = board.since(self._number)
        if len(entries) > CHUNK:
            await self._say_chunks(board, entries[::-1], after=self._number, reset=False)
            return
        known = {entry.job.job_id for entry in entries}
        also = [board.get(job_id) for job_id in self._also - known]
        entries += [entry for entry in also if entry is not None]
        self._also.clear()
        number, self._number = self._number, board.number
        if entries or number != board.number:
            await self._say(f'{{"type":"change","number":{board.number},"jobs":{board.jobs_json(entries)}}}')

    async def _say_chunks(self, board: Board, entries: list[Entry], *, after: int, reset: bool) -> None:
        number = board.number
        self._also.clear()
        for start in range(0, max(1, len(entries)), CHUNK):
            chunk, more = entries[start : start + CHUNK], start + CHUNK < len(entries)
            head = {"type": "jobs", "after": after, "number": number, "more": more, "reset": reset and start == 0}
            await self._say(f'{encode(head)[:-1]},"jobs":{board.jobs_json(chunk)}}}')
            await asyncio.sleep(0)
        self._number = number

    async def _say_targets(self) -> None:
        try:
            self._kernels = kernels_of(self._hub.board)
            views, default = await self._targets.views(self._kernels)
            message = {"type": "targets", "targets": views, "default": default, "words": ""}
        except LeptonError as error:
            message = {"type": "targets", "targets": [], "default": "", "words": str(error)}
        await self._say(encode(message))

    async def _say_kernels(self) -> None:
        """Jobs began or ended: targets have other kernels at work."""
        kernels = kernels_of(self._hub.board)
        if kernels != self._kernels:
            self._kernels = kernels
            await self._say(encode({"type": "kernels", "kernels": kernels}))

    async def _say_summary(self) -> None:
        summary = {**self._hub.board.summary(self._away_since), "busiest": self._targets.busiest()}
        if summary == self._summary:
            return
        counts_moved = any(summary[name] != self._summary.get(name) for name in _COUNTS)
        due = self._summary_at + (COUNTS_EVERY if counts_moved else SUMMARY_EVERY)
        if time.monotonic() < due:
            self._pause = due - time.monotonic()
            return
        self._summary, self._summary_at = summary, time.monotonic()
        await self._say(encode({"type": "summary", **summary}))

    async def _say_trouble(self) -> None:
        """Why there is nothing to say, when the store cannot be read; empty when it can be again."""
        error = self._hub.trouble
        if str(error or "") != self._trouble:
            self._trouble = str(error or "")
            message, hint = (error.message, error.hint) if error is not None else ("", "")
            await self._say(encode({"type": "trouble", "message": message, "hint": hint}))

    async def _say(self, text: str) -> None:
        await self._socket.write_message(text.encode("ascii"))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _names(value: object) -> frozenset[str]:
    listed = value if isinstance(value, list) else []
    return frozenset(name for name in listed[:_MOST_LOOKS] if isinstance(name, str))
