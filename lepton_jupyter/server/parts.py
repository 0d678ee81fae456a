"""Everything behind the routes, made in one place and ended in one. Runs in the Jupyter server, on its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_events import EventLogger

from ..errors import LeptonError
from ..job import Job
from ..outputs import Output
from ..widgets import static
from .backend import Backend
from .facts import Facts
from .fetching import Fetching
from .hub import Hub
from .notebooks import Claims, Errands, Notebooks, attached, follow_moves
from .results import Results
from .stream import Client
from .supervisor import Supervisor
from .targets import Targets

#: Seconds that the end of the server may wait for links to be let go.
_FAREWELL = 5.0
#: Seconds between two looks at lepton.toml.
_LOOK_EVERY = 2.0


class Parts:
    """What handlers may use; `start` begins the work, `close` ends it.

    `root` is the folder of notebooks that the server shows, `settings` are those of its web application.
    """

    def __init__(
        self,
        *,
        root: str,
        contents: Any,
        sessions: Any,
        events: EventLogger,
        settings: Mapping[str, Any],
        log: logging.Logger,
    ) -> None:
        self.root, self.log = root, log
        self.backend = Backend()
        self.hub = Hub(self.backend, root, log)
        self.targets = Targets(self.backend, log)
        self.results = Results(self.backend)
        self.fetching = Fetching(self.backend)
        self.supervisor = Supervisor(self.backend, self.hub, self.results, log)
        self.clients: set[Client] = set()
        self.claims = Claims()
        self.notebooks = Notebooks(
            contents=contents, settings=settings, root=root, claims=self.claims, fold=self._fold,
            store=self.backend.store, log=log, attached=attached(sessions),
            orphaned=self.supervisor.orphaned, card=self._card,
        )  # fmt: skip
        self.errands = Errands(self.notebooks, self.backend.store, log)
        self.hub.on_job += [Facts(events, root, log).on_job, self.errands.on_job]
        self._unfollow = follow_moves(events, self.notebooks.moved)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to watch the store and to look after jobs; needs a running loop."""
        if not self._tasks:
            work = (self.hub.run(), self.supervisor.run(), self._catch_up(), self._watch_config())
            self._tasks = [asyncio.ensure_future(task) for task in work]

    async def close(self) -> None:
        """Let go of everything. Jobs and their kernels live on."""
        self._unfollow()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.supervisor.close()
        self.results.close()
        self.fetching.close()
        await self.errands.close()
        await self.targets.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(self.backend.close), _FAREWELL)

    def targets_changed(self, name: str = "") -> None:
        """lepton.toml is another: target `name` was added, changed or removed, or the default was."""
        if name:
            self.targets.forget(name)
        for client in self.clients:
            client.targets_changed()

    async def _watch_config(self) -> None:
        """See what magics, the command line and editors change in lepton.toml, while somebody looks."""
        seen: object = None
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if not self.hub.visible:
                continue
            try:
                now = await self.targets.stamp()
            except LeptonError as error:
                now = str(error)
            if now != seen and seen is not None:
                self.targets_changed()
            seen = now

    async def _catch_up(self) -> None:
        """Bring home what ended while no server ran."""
        await self.hub.loaded()
        # What the server is made of, some 200,000 objects, stays for its life. Garbage collection would look through
        # all of it now and then, with the event loop at a halt for a tenth of a second and more.
        gc.freeze()
        with contextlib.suppress(LeptonError):
            await self.errands.catch_up()

    def _card(self, job: Job) -> Mapping[str, Any]:
        """The card of a job that is over, as it stays in the notebook."""
        return static.bundle(static.facts_of(job, self.hub.prices.get(job.spec.target, 0.0)))

    async def _fold(self, job: Job) -> tuple[Sequence[Output], int, int | None]:
        result = await self.results.of(job)
        return result.outputs, result.seq, result.execution_count
