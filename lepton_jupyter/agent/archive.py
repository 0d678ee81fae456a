"""The files that agents left, read when no agent answers: finished jobs, and jobs cut off with their agent.

Runs on the host, inside `attach`, and speaks the same wire protocol as a living agent, so that a client which attaches
to a job needs no second road.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from ..errors import KernelDied
from ..wire import Message
from .connection import Connection
from .history import answer, stored_usage
from .host_job import stored_journal
from .journal import Journal, first_event
from .sampling import Sampling
from .storage import Alive, job_folder, kernel_folder

_FINAL = ("COMPLETED", "FAILED", "CANCELLED")


class Archive:
    """Serves journals from disk; everything that needs a living kernel is refused in words."""

    def __init__(self, root: str, kernel_id: str) -> None:
        self.kernel_id = kernel_id
        self.news = threading.Condition()
        self.root = root
        self._sampling = Sampling(root)

    def joined(self, connection: Connection) -> None:
        """One reader serves one client; nobody is superseded."""

    def watch(self, connection: Connection, every: float) -> None:
        self._sampling.watch(connection, every)

    def journal(self, job_id: str) -> Journal:
        """The journal of a job, brought to its end if its agent died. Raises UnknownJob."""
        journal = stored_journal(self.root, job_id, self.news)
        first = first_event(journal.path)
        lock = Alive(job_folder(self.root, job_id))
        if first is None or Alive(kernel_folder(self.root, first.fields["kernel"])).held() or not lock.take():
            return journal
        try:
            if not any(event.fields.get("state") in _FINAL for event in journal.events()):
                cause = "the agent on the host is gone (the host was rebooted, or someone killed it); " + (
                    f"the end of its journal is damaged ({journal.torn:,} bytes were dropped), so the last outputs are "
                    "incomplete"
                    if journal.torn
                    else "outputs up to here are complete"
                )
                usage = stored_usage(self.root, job_id)
                end = {"state": "FAILED", "cause": cause, "error": "KernelDied", "time": time.time()}
                journal.keep("state", {**end, **({"usage": usage} if usage else {})})
        finally:
            lock.free()
        return journal

    def carry_out(self, message: Message) -> dict[str, Any]:
        if message.kind == "jobs":
            return {"jobs": list_jobs(self.root)}
        if message.kind == "history":
            return answer(self.root, str(message.fields["job"]))
        if message.kind == "stop":
            return {}
        if message.kind in ("interrupt", "cancel"):
            return {"words": "it had ended already"}
        raise KernelDied(f"kernel {self.kernel_id} is gone", hint="Run the cell again: it starts a new kernel.")


def list_jobs(root: str) -> list[dict[str, Any]]:
    """What jobs lie on this host: job, kernel, name, created, alive (of the kernel), newest first."""
    folder = os.path.join(root, "jobs")
    found = []
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        first = first_event(os.path.join(folder, name, "journal"))
        if first is not None:
            kernel = str(first.fields["kernel"])
            about = {"job": name, "kernel": kernel, "name": first.fields["name"], "created": first.fields["time"]}
            found.append({**about, "alive": Alive(kernel_folder(root, kernel)).held()})
    return sorted(found, key=lambda about: -float(about["created"]))
