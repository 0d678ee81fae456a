"""The store, the configuration and the hosts, for code on the event loop. Runs in the Jupyter server.

One door: whoever wants something that may block hands a function to `store`, `config` or `host`, which run it in a
thread. The file of jobs and lepton.toml are opened at first use, so a broken one is told to whoever asks, in words, and
works again as soon as it is mended; the server itself starts whatever they hold.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from ..config import LOCAL, Config, TargetConfig, config_path
from ..errors import ConfigError, LinkLost
from ..remote import Dispatcher
from ..store import JobStore
from .workers import Workers

_T = TypeVar("_T")

#: Threads for the store and the configuration; they work in a moment, and more would only wait for one another.
_QUICK = 2
#: Threads for hosts, and how many of them one target may hold: a dead host must not keep others waiting.
_SLOW = 16
_PER_TARGET = 4
#: Seconds that somebody waits for a host's answer.
PATIENCE = 60.0


def no_prompt(question: str, secret: bool) -> str:
    """The server can ask nobody. Raises ConfigError, which says where the person can be asked."""
    raise ConfigError(
        f"the server cannot ask you {question.strip().rstrip(':')!r}; a notebook can (%lepton_target test NAME), and "
        "an SSH agent needs no answer (ssh-add)"
    )


class _Beside(Config):
    """The configuration as a notebook in `folder` has it: kernels on this machine begin there."""

    def __init__(self, path: Path, folder: str) -> None:
        super().__init__(path)
        self._folder = folder

    def target(self, name: str = "") -> TargetConfig:
        found = super().target(name)
        if found.kind != LOCAL or found.options.get("cwd"):
            return found
        return dataclasses.replace(found, options={**found.options, "cwd": self._folder})


class Backend:
    """Everything that blocks."""

    def __init__(self) -> None:
        self._quick = Workers("lepton store", _QUICK)
        self._slow = Workers("lepton hosts", _SLOW)
        self._turns: dict[str, asyncio.Semaphore] = collections.defaultdict(lambda: asyncio.Semaphore(_PER_TARGET))
        self._opening = threading.Lock()
        self._store: JobStore | None = None
        self._config: Config | None = None
        self._dispatcher: Dispatcher | None = None
        self._beside: dict[str, Dispatcher] = {}  # by folder
        self._closed = False

    async def store(self, use: Callable[[JobStore], _T]) -> _T:
        """What `use` makes of the store. Raises LeptonError when the store cannot be used."""
        return await self._quick.run(lambda: use(self.open_store()))

    async def config(self, use: Callable[[Config], _T]) -> _T:
        """What `use` makes of lepton.toml as it is now. Raises ConfigError."""
        return await self._quick.run(lambda: use(self.open_config()))

    async def host(self, target: str, use: Callable[[Dispatcher], _T], patience: float = PATIENCE) -> _T:
        """What `use` gets from the host of `target`.

        Raises what `use` raises, and LinkLost after `patience` seconds: the attempt goes on, but nobody waits for it.
        """
        turn = self._turns[target]
        try:
            await asyncio.wait_for(turn.acquire(), patience)
        except asyncio.TimeoutError:
            raise _no_answer(target, patience) from None
        task = asyncio.ensure_future(self._slow.run(lambda: use(self.dispatcher())))
        task.add_done_callback(lambda done: turn.release())
        return await _patiently(task, target, patience)

    def open_store(self) -> JobStore:
        """For threads: the store, opened. Raises LeptonError."""
        with self._opening:
            if self._store is None:
                self._store = JobStore.load()
            return self._store

    def open_config(self) -> Config:
        """For threads: lepton.toml. Raises ConfigError."""
        with self._opening:
            if self._config is None:
                self._config = Config.load()
            return self._config

    def dispatcher(self) -> Dispatcher:
        """For threads: the one orchestrator of this process. Raises LeptonError."""
        store, config = self.open_store(), self.open_config()
        with self._opening:
            if self._closed:
                raise LinkLost("the server stops")
            if self._dispatcher is None:
                self._dispatcher = Dispatcher(config, store, no_prompt)
            return self._dispatcher

    def dispatcher_beside(self, notebook: str) -> Dispatcher:
        """For threads: one whose new kernels on this machine start in the notebook's folder. Raises LeptonError."""
        folder = os.path.dirname(notebook)
        if not os.path.isdir(folder):
            return self.dispatcher()
        store = self.open_store()
        with self._opening:
            if self._closed:
                raise LinkLost("the server stops")
            if folder not in self._beside:
                self._beside[folder] = Dispatcher(_Beside(config_path(), folder), store, no_prompt)
            return self._beside[folder]

    def close(self) -> None:
        """Let go of every link and of the store; jobs and their kernels live on. Blocks for a moment."""
        with self._opening:
            self._closed = True
        self._quick.close()
        self._slow.close()
        for dispatcher in filter(None, [self._dispatcher, *self._beside.values()]):
            dispatcher.close()
        if self._store is not None:
            self._store.close()


async def _patiently(task: Awaitable[_T], target: str, patience: float) -> _T:
    try:
        return await asyncio.wait_for(asyncio.shield(task), patience)
    except asyncio.TimeoutError:
        raise _no_answer(target, patience) from None


def _no_answer(target: str, patience: float) -> LinkLost:
    return LinkLost(
        f"{target or 'the target'} has not answered within {patience:.0f} s",
        hint="The attempt goes on. Is the host up, and the network? %lepton_target test NAME says more.",
    )
