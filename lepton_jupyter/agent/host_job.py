"""One job on this host: its journal, and how far it is. Runs in the agent and in the reader."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from ..errors import HostStorage, IllegalMove, UnknownJob
from .journal import Journal, first_event, open_journal
from .storage import job_folder

if TYPE_CHECKING:
    from .history import History


class HostJob:
    """One job on this host: its journal and how far it is."""

    def __init__(self, job_id: str, journal: Journal, request: dict[str, Any], code: bytes) -> None:
        self.job_id, self.journal, self.request, self.code = job_id, journal, request, code
        self.reply: dict[str, Any] | None = None
        self.begun = False  # the kernel has said that it works on it
        self.idle = False
        self.full = False  # the disk refused an event; nothing more is written
        self.final = False
        self.history: History | None = None  # of its resources, once somebody looks at them
        self.began = 0.0  # monotonic
        self.credentials = b""
        self.cargo = contextlib.ExitStack()  # what it brings stays on the disk until it is over

    def settle(self, state: str, **fields: Any) -> None:
        """Write the final state, once, and whatever happens."""
        if not self.final:
            self.final = True
            usage = self.history.usage() if self.history is not None else {}
            if usage:
                fields["usage"] = usage
            self.journal.keep("state", {"state": state, "time": time.time(), **fields})
            self.cargo.close()

    def sync(self) -> None:
        """Have the disk hold the job; one that has ended gives its file descriptor back."""
        if self.final:
            self.journal.close()
        else:
            self.journal.sync()


class Spare:
    """The folder of the next job with its empty journal, made ahead: to make them takes a file system longer than all
    else that begins a job. Until then they are in the kernel's own folder, and go with it.
    """

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "next")
        self._lock = threading.Lock()
        self._journal: int | None = None

    def make(self) -> None:
        """Have one, unless there is one. When the disk refuses, so it will the job, which then says why."""
        with self._lock, contextlib.suppress(OSError):
            if self._journal is None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(self._path, 0o700)
                self._journal = open_journal(os.path.join(self._path, "journal"))

    def take(self, folder: str) -> int | None:
        """Let it be `folder`; its journal, open. None when there is none, or something else is in that place."""
        with self._lock:
            journal, self._journal = self._journal, None
            if journal is None:
                return None
            try:
                os.rename(self._path, folder)
            except OSError:
                os.close(journal)
                return None
            return journal


def new_journal(root: str, job_id: str, news: threading.Condition, about: dict[str, Any], spare: Spare) -> Journal:
    """The journal of a job that is queued; its first event tells `about` it.

    Raises HostStorage when it cannot be begun, IllegalMove when the id is taken.
    """
    folder = job_folder(root, job_id)
    try:
        opened = spare.take(folder)
        if opened is None:
            os.mkdir(folder, 0o700)
        journal = Journal(os.path.join(folder, "journal"), job_id, news, opened)
        journal.append("state", {"state": "QUEUED", "time": time.time(), **about}, tell=False)  # nobody follows it yet
    except FileExistsError:
        raise IllegalMove(f"a job {job_id!r} exists on this host already") from None
    except OSError as error:
        raise HostStorage(f"the journal of the job cannot be written: {error}", hint=full_hint(error)) from None
    return journal


def stored_journal(root: str, job_id: str, news: threading.Condition) -> Journal:
    """The journal of a job of another or a former agent. Raises UnknownJob."""
    path = os.path.join(job_folder(root, job_id), "journal")
    if first_event(path) is None:
        raise UnknownJob(f"this host knows no job {job_id!r}")
    return Journal(path, job_id, news)


def full_hint(error: OSError) -> str:
    """What to do about a disk that refused a journal."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free disk space on the host, or put the target's `root` on another disk."
    return "Look at the permissions and the disk of the target's `root` on the host."
