"""The places to run as browsers see them: which there are, how they are reached, what they are doing right now.

Runs in the Jupyter server, on its event loop. A target is asked for samples only while somebody looks at it: then one
link to it is open, whatever the number of pages, and is let go a little after the last one looked away. What was seen
stays, with its time, so that a page can grey and date it.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..client import Link
from ..config import Config, TargetConfig
from ..errors import LeptonError
from ..remote.watch import Watch
from .backend import Backend
from .board import Board

#: Seconds between two samples of a target that somebody looks at, and how many stay: ten minutes.
EVERY = 1.0
HISTORY = 600
#: A link is kept this long after the last look: pages are left and come back.
_GRACE = 20.0
#: Seconds before the next attempt to reach a target, by the number of those that failed.
_BACKOFF = (3.0, 10.0, 30.0, 60.0)
#: A sample older than this does not say how busy a target is.
_FRESH = 10.0
UNKNOWN = "unknown"


class Onlooker(Protocol):
    """Who is told what happens on the targets it looks at."""

    def sampled(self, target: str, sample: Mapping[str, Any], latency: float | None) -> None: ...

    def linked(self, target: str, link: str, words: str) -> None: ...


@dataclass(slots=True)
class _Seen:
    """What is known of one target beyond its configuration."""

    link: str = UNKNOWN
    words: str = ""
    latency: float | None = None
    sample: Mapping[str, Any] | None = None
    rows: collections.deque[list[Any]] = field(default_factory=lambda: collections.deque(maxlen=HISTORY))
    task: asyncio.Task[None] | None = None
    needed: asyncio.Event = field(default_factory=asyncio.Event)


class Targets:
    """Watches those targets that somebody looks at."""

    def __init__(self, backend: Backend, log: logging.Logger) -> None:
        self._backend, self._log = backend, log
        self._seen: dict[str, _Seen] = collections.defaultdict(_Seen)
        self._looks: dict[Onlooker, frozenset[str]] = {}

    async def views(self, kernels: Mapping[str, int]) -> tuple[list[dict[str, Any]], str]:
        """All targets as JSON for browsers, and the default's name. `kernels`: how many live on each.

        Raises ConfigError.
        """
        targets, default = await self._backend.config(lambda config: (config.targets, config.default))
        return [self._view(target, default, kernels.get(name, 0)) for name, target in targets.items()], default

    async def stamp(self) -> object:
        """Something that is another when lepton.toml changed. Raises ConfigError."""

        def read(config: Config) -> object:
            listed = [(name, target.kind, dict(target.options)) for name, target in config.targets.items()]
            return listed, config.default

        return await self._backend.config(read)

    def look(self, onlooker: Onlooker, names: Iterable[str]) -> None:
        """From now on `onlooker` looks at these targets and no others."""
        self._looks[onlooker] = frozenset(names)
        self._settle()

    def leave(self, onlooker: Onlooker) -> None:
        self._looks.pop(onlooker, None)
        self._settle()

    def forget(self, name: str) -> None:
        """The target was removed or changed: what was seen belongs to another place."""
        seen = self._seen.pop(name, None)
        if seen is not None and seen.task is not None:
            seen.task.cancel()
        self._settle()

    def busiest(self) -> str:
        """The busiest device that is looked at, in words for the status bar: "gpu-box 92 %"; "" when none is."""
        now, found = time.time(), list[tuple[float, str]]()
        for name, seen in self._seen.items():
            if seen.sample is not None and now - seen.sample["time"] < _FRESH:
                utils = [device["util"] for device in seen.sample["devices"]]
                found += [(util, name) for util in utils if util is not None]
        if not found:
            return ""
        util, name = max(found)
        return f"{name} {round(util / 5) * 5} %"

    async def close(self) -> None:
        """Let go of every link."""
        tasks = [seen.task for seen in self._seen.values() if seen.task is not None]
        self._looks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _settle(self) -> None:
        """Start and stop watching as the looks ask for."""
        wanted = frozenset[str]().union(*self._looks.values())
        for name in wanted:
            seen = self._seen[name]
            seen.needed.set()
            if seen.task is None or seen.task.done():
                seen.task = asyncio.ensure_future(self._keep(name, seen))
        for name, seen in self._seen.items():
            if name not in wanted:
                seen.needed.clear()

    async def _keep(self, name: str, seen: _Seen) -> None:
        """Watch the target, through any number of failures, until nobody has looked for a while."""
        loop, failures = asyncio.get_running_loop(), 0
        lost = asyncio.Event()

        def on_sample(sample: dict[str, Any]) -> None:
            _soon(loop, lambda: self._on_sample(name, seen, sample))

        def on_link(link: Link, words: str) -> None:
            def tell() -> None:
                self._on_link(name, seen, link.value, _sentences(words))
                if link is Link.LOST:
                    lost.set()

            _soon(loop, tell)

        while seen.needed.is_set():
            lost.clear()
            watch: Watch | None = None
            try:
                watch = await self._backend.host(
                    name, lambda dispatcher: dispatcher.watch(name, on_sample, on_link, every=EVERY)
                )
                failures = 0
                self._on_link(name, seen, Link.CONNECTED.value, "")
                await self._until_unneeded(seen, lost)
            except LeptonError as error:
                self._on_link(name, seen, Link.LOST.value, _sentences(str(error)))
                pause = _BACKOFF[min(failures, len(_BACKOFF) - 1)]
                failures += 1
                await asyncio.sleep(pause)
            finally:
                if watch is not None:
                    await self._let_go(watch)
        if seen.link != Link.LOST.value:
            self._on_link(name, seen, UNKNOWN, "")

    async def _until_unneeded(self, seen: _Seen, lost: asyncio.Event) -> None:
        """Return when nobody has looked for a while, or the link is lost for good."""
        while not lost.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(lost.wait(), 1.0)
            if not seen.needed.is_set():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(seen.needed.wait(), _GRACE)
                if not seen.needed.is_set():
                    return

    async def _let_go(self, watch: Watch) -> None:
        try:
            await asyncio.shield(asyncio.ensure_future(self._backend.host("", lambda _: watch.close())))
        except (LeptonError, RuntimeError) as error:  # the link was dead already, or the server stops
            self._log.debug("lepton: a watch was not closed: %s", error)

    def _on_sample(self, name: str, seen: _Seen, sample: dict[str, Any]) -> None:
        sample["time"] = time.time()  # by this machine's clock, as pages tell how old it is
        seen.sample, seen.latency = sample, sample["latency"]
        seen.rows.append(row(sample))
        for onlooker, names in self._looks.items():
            if name in names:
                onlooker.sampled(name, sample, seen.latency)

    def _on_link(self, name: str, seen: _Seen, link: str, words: str) -> None:
        if (seen.link, seen.words) == (link, words):
            return
        seen.link, seen.words = link, words
        for onlooker in self._looks:
            onlooker.linked(name, link, words)

    def _view(self, target: TargetConfig, default: str, kernels: int) -> dict[str, Any]:
        seen = self._seen.get(target.name) or _Seen()
        price = target.options.get("price_per_hour", 0)
        return {
            "name": target.name,
            "kind": target.kind,
            "where": str(target.options.get("host") or "this machine"),
            "is_default": target.name == default,
            "price_per_hour": price if isinstance(price, (int, float)) else 0,
            "link": seen.link,
            "words": seen.words,
            "latency": seen.latency,
            "sample": seen.sample,
            "samples": list(seen.rows),
            "kernels": kernels,
        }


def row(sample: Mapping[str, Any]) -> list[Any]:
    """A sample as one point of a target's history: [time, CPU %, [% of each device]]."""
    return [sample["time"], sample["cpu"]["percent"], [device["util"] for device in sample["devices"]]]


def kernels_of(board: Board) -> Mapping[str, int]:
    """On how many kernels of each target jobs run or wait."""
    return collections.Counter(
        target for target, _ in {(entry.job.spec.target, entry.job.native_id) for entry in board.live}
    )


def _sentences(text: str) -> str:
    """What is wrong and, in the lines below, what to do about it: in one line."""
    *first, last = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    return " ".join([line if line.endswith((".", "!", "?", "…", ":")) else f"{line}." for line in first] + [last])


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call it on the loop, from any thread; a loop that has ended needs no news."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
