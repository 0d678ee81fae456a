"""Which pages have which notebooks open, as they say themselves on their stream. Runs in Jupyter Server's event loop.

A claim is a page's word that it shows a notebook and will put outputs into it when asked. It lasts as long as the
page's connection: whoever sleeps or is gone has no claim, and is told on return what happened meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Client(Protocol):
    """A page, as the stream knows it."""

    def send(self, message: dict[str, Any]) -> object:
        """Send one message to the page, or drop it when the page is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A notebook that a page has open."""

    path: str  # as the contents API has it
    dirty: bool = False
    hash: str | None = None  # of the file as the page knows it
    active: bool = False  # it is in front
    shared: bool = False  # its model is a real-time-collaboration document
    epoch: int = 0  # changes whenever running cells may have lost their kernel's messages


class Claims:
    """The claims of all pages. `on_open` hears of each notebook that a page opened, or that needs a look again."""

    def __init__(self, on_open: Callable[[str], object] | None = None) -> None:
        self.on_open = on_open
        self.on_wrote: Callable[[Mapping[str, Any]], object] | None = None
        self.on_drop: Callable[[], object] | None = None
        self._open: dict[Client, dict[str, Claim]] = {}
        self._used: dict[Client, int] = {}
        self._lost: dict[str, float] = {}
        self._clock = itertools.count()
        self._asked: dict[tuple[Client, str], asyncio.Future[Mapping[str, Any]]] = {}

    def update(self, client: Client, notebooks: Iterable[Mapping[str, Any]]) -> None:
        """`client` says what it has open now. Entries that make no sense are left out."""
        former, now = self._open.get(client, {}), {}
        for entry in notebooks:
            claim = _claim(entry)
            if claim is not None:
                now[claim.path] = claim
        self._open[client] = now
        if client not in self._used or any(claim.active for claim in now.values()):
            self._used[client] = next(self._clock)
        for path, claim in now.items():
            before = former.get(path)
            if before is not None and before.epoch < claim.epoch:
                self._lost[path] = time.time()
            if self.on_open is not None and (before is None or before.epoch != claim.epoch):
                self.on_open(path)

    def drop(self, client: Client) -> None:
        """`client` is gone."""
        had = self._open.pop(client, None)
        self._used.pop(client, None)
        for key in [key for key in self._asked if key[0] is client]:
            self._asked.pop(key).cancel()
        if had and self.on_drop is not None:
            self.on_drop()

    def wrote(self, client: Client, message: Mapping[str, Any]) -> None:
        """`client` answers a request to write, or says later that what it wrote is saved.

        Whoever else has open what it saved hears of it.
        """
        path, digest = message.get("path"), message.get("hash")
        if message.get("saved") and isinstance(path, str) and isinstance(digest, str):
            self.tell_saved(path, digest)
        waiting = self._asked.pop((client, str(message.get("job", ""))), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)
        elif self.on_wrote is not None:
            self.on_wrote(message)

    def of(self, path: str) -> list[tuple[Client, Claim]]:
        """Who has `path` open: first who has it in front, then who was used last."""
        found = [(client, notebooks[path]) for client, notebooks in self._open.items() if path in notebooks]
        return sorted(found, key=lambda entry: (entry[1].active, self._used[entry[0]]), reverse=True)

    def lost_at(self, path: str) -> float:
        """When a page last saw the kernel of `path` go (restarted, dead, another one), in seconds since the epoch."""
        return self._lost.get(path, 0.0)

    def paths(self) -> set[str]:
        """All notebooks that are open anywhere."""
        return {path for notebooks in self._open.values() for path in notebooks}

    async def ask(self, client: Client, message: dict[str, Any], timeout: float) -> Mapping[str, Any] | None:
        """Have `client` write, and wait for its answer; None when it is gone or does not answer in time."""
        key = client, str(message["job"])
        former = self._asked.pop(key, None)
        if former is not None:
            former.cancel()
        answer = self._asked[key] = asyncio.get_running_loop().create_future()
        client.send(message)
        try:
            return await asyncio.wait_for(asyncio.shield(answer), timeout)
        except asyncio.TimeoutError:
            return None
        except asyncio.CancelledError:
            if not answer.cancelled():
                raise  # it is we who are cancelled
            return None
        finally:
            if self._asked.get(key) is answer:
                del self._asked[key]
            answer.cancel()

    def tell_saved(self, path: str, digest: str | None) -> None:
        """Say to all who have `path` open that the file was written."""
        for client, _ in self.of(path):
            with contextlib.suppress(OSError):
                client.send({"type": "saved", "path": path, "hash": digest})


def _claim(entry: Any) -> Claim | None:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("path"), str) or not entry["path"]:
        return None
    digest, epoch = entry.get("hash"), entry.get("epoch")
    return Claim(
        path=entry["path"].strip("/"),
        dirty=bool(entry.get("dirty")),
        hash=digest if isinstance(digest, str) else None,
        active=bool(entry.get("active")),
        shared=bool(entry.get("shared")),
        epoch=epoch if isinstance(epoch, int) else 0,
    )
