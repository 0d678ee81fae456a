"""When to look at the host: once a second for those who watch, every few seconds for the job that runs, else never.

Runs in the agent, and in the reader. A thread of its own, which the road of outputs never waits for: to begin or to end
a job tells it nothing. It asks what runs, and is woken about once a second while something does.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from typing import Any, Callable, NamedTuple, Protocol

from .history import History

#: Seconds after its start at which a job is first looked at, and between looks.
_FIRST, _EVERY = 1.0, 5.0
#: Nobody is sent samples faster than this.
_FASTEST = 0.2
_log = logging.getLogger(__name__)


class Watcher(Protocol):
    """Who wants samples."""

    def show(self, sample: dict[str, Any]) -> None:
        """Take a sample; must not block."""


class Running(NamedTuple):
    """The job that a kernel works on."""

    job_id: str
    name: str
    began: float  # monotonic
    history: History


class Sampling:
    """Samples of one host, for any number of watchers and one job at a time."""

    def __init__(
        self,
        root: str,
        kernel_id: str = "",
        running: Callable[[], Running | None] = lambda: None,
        queue: Callable[[], list[dict[str, Any]]] = list,
        kernel_pid: Callable[[], int] = lambda: 0,
    ) -> None:
        self._root, self._kernel_id = root, kernel_id
        self._running, self._queue, self._kernel_pid = running, queue, kernel_pid
        self._changed = threading.Condition()
        self._watchers: dict[Watcher, tuple[float, float]] = {}  # -> every so many seconds, next at
        self._started = self._woken = False
        self._noted = ""  # job that others can read is running

    def watch(self, watcher: Watcher, every: float) -> None:
        """Send samples every so many seconds from now on; 0 ends it."""
        with self._changed:
            if every > 0:
                self._watchers[watcher] = (max(every, _FASTEST), time.monotonic())
            else:
                self._watchers.pop(watcher, None)
        if every > 0:
            self.wake()

    def wake(self) -> None:
        """Something may have to be looked at: a job runs, or somebody watches."""
        with self._changed:
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, name="sampling", daemon=True).start()
            self._woken = True
            self._changed.notify_all()

    def _run(self) -> None:
        from .resources import Sampler  # what is not looked at needs no memory

        sampler = Sampler(self._root, self._kernel_id)
        looked, job = 0.0, ""  # when the running job was last looked at
        while True:
            running = self._running()
            if running is None or running.job_id != job:
                job, looked = (running.job_id, running.began + _FIRST - _EVERY) if running else ("", 0.0)
            if self._noted and self._noted != job:
                self._note(None)
            due = [at for _, at in list(self._watchers.values())] + ([looked + _EVERY] if running else [])
            now = time.monotonic()
            if not due or min(due) > now:
                with self._changed:
                    if not self._woken:
                        self._changed.wait(min(due) - now if due else None)
                    self._woken = False
                continue
            try:
                sample = sampler.sample(self._kernel_pid(), job)
            except Exception:  # noqa: BLE001 - whatever a host comes up with: jobs go on without being looked at
                _log.exception("the host could not be looked at")
                time.sleep(_EVERY)
                continue
            if running is not None and looked + _EVERY <= now:
                looked = now
                if (still := self._running()) is not None and still.job_id == job:
                    running.history.add(sample)
                    self._note(running)
            self._send(sample, now)

    def _send(self, sample: dict[str, Any], now: float) -> None:
        from .resources import running_on

        with self._changed:
            due = [watcher for watcher, (_, at) in self._watchers.items() if at <= now]
            for watcher in due:
                every = self._watchers[watcher][0]
                self._watchers[watcher] = (every, max(self._watchers[watcher][1] + every, now))
        if not due:
            return
        queue = self._queue()
        known = {entry["job"] for entry in queue}
        sample["queue"] = queue + [entry for entry in running_on(self._root) if entry["job"] not in known]
        for watcher in due:
            watcher.show(sample)

    def _note(self, running: Running | None) -> None:
        """Let other agents and readers on this host know which job holds what this kernel holds."""
        from .resources import note_path

        path = note_path(self._root, self._kernel_id)
        job = running.job_id if running else ""
        if job == self._noted:
            return
        with contextlib.suppress(OSError):
            if running is None:
                os.unlink(path)
            else:
                with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                    json.dump({"job": job, "name": running.name}, file)
                os.replace(f"{path}.new", path)
        self._noted = job
