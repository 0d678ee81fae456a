"""Where things lie on a host, and how they are written there. Runs on the host.

::

    ROOT/ (0700, ~/.lepton unless the target's `root` says otherwise)
      agents/DIGEST.zip        this program, by its content
      envs/DIGEST/             managed environments
      kernels/ID/              kernel.json, alive (a lock its agent holds), agent.sock, agent.log, kernel.log,
                               next/ (what becomes the folder of its next job)
      jobs/ID/journal          what a job is and all it said
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from typing import Any

from ..errors import HostStorage, UnknownJob

#: Finished jobs are forgotten this many seconds after their last event.
KEEP_JOBS = 30 * 24 * 3600.0
_ID = re.compile(r"[0-9a-z]{4,40}")
#: A Unix socket's path may have 107 bytes on Linux and 103 on macOS; ours end in "/agent.sock" or "/k-5".
_SOCKET_PATH = 90
#: How the names of short folders for sockets begin, and seconds that an agent may take to be all there.
_SOCKETS, _STARTING = "lepton-", 60.0


def private_folder(path: str) -> str:
    """`path`, made with mode 0700 when absent. Raises HostStorage when others could write or read there."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
        if status.st_uid != os.geteuid():
            raise HostStorage(f"{path} belongs to another user", hint="Set the target's `root` to a folder of yours.")
        if status.st_mode & 0o077:
            os.chmod(path, 0o700)
    except OSError as error:
        hint = "Set the target's `root` to a folder you can write, such as /scratch/YOU/.lepton."
        raise HostStorage(f"cannot use {path}: {error.strerror}", hint=hint) from None
    return path


def kernel_folder(root: str, kernel_id: str) -> str:
    """The folder of a kernel. Raises UnknownJob for an id that cannot be one."""
    return os.path.join(root, "kernels", _checked(kernel_id))


def job_folder(root: str, job_id: str) -> str:
    """The folder of a job. Raises UnknownJob for an id that cannot be one."""
    return os.path.join(root, "jobs", _checked(job_id))


def socket_folder(folder: str) -> str:
    """Where a kernel's sockets go: its own folder, or a short private one when that path is too long for a socket."""
    if len(os.fsencode(folder)) <= _SOCKET_PATH:
        return folder
    return tempfile.mkdtemp(prefix=_SOCKETS)  # mkdtemp makes it 0700 and ours


def read_json(path: str) -> Any:
    """The JSON in a file, or None when there is no such file."""
    try:
        with open(path, "rb") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def write_json(path: str, value: Any) -> None:
    """Write atomically, mode 0600. Raises OSError and leaves the former file when it cannot."""
    part = f"{path}.{os.getpid()}"
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        if os.path.exists(part):
            os.unlink(part)
        raise


class Alive:
    """A lock that lasts exactly as long as the process that holds it: tells the living from the dead."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "alive")
        self._fd: int | None = None

    def take(self) -> bool:
        """Whether the lock is ours now; it stays so until this process ends or `free` is called."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def free(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def fileno(self) -> int:
        """The lock itself, for a child that shall hold it too. Only while it is ours."""
        assert self._fd is not None
        return self._fd

    def held(self) -> bool:
        """Whether some process holds it."""
        if not os.path.exists(self._path):
            return False
        if not self.take():
            return True
        self.free()
        return False


def forget_old(root: str) -> None:
    """Remove jobs that ended long ago, and the folders of kernels that are gone as long."""
    for kind in ("jobs", "kernels"):
        folder = os.path.join(root, kind)
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            path = os.path.join(folder, name)
            if kind == "kernels":
                _forget_sockets(path)
            if time.time() - _newest(path) > KEEP_JOBS and not Alive(path).held():
                shutil.rmtree(path, ignore_errors=True)


def _newest(folder: str) -> float:
    """When a file in `folder`, or else the folder itself, was changed last; others may fill or remove it meanwhile."""
    times: list[float] = []
    for path in [*_paths(folder), folder]:
        if path == folder and times:
            break
        try:
            times.append(os.stat(path).st_mtime)
        except FileNotFoundError:
            continue
    return max(times, default=0.0)


def _paths(folder: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(folder)]
    except FileNotFoundError:
        return []


def _forget_sockets(folder: str) -> None:
    """Remove the short folder of a kernel's sockets when its agent was killed and so could not do it.

    Only the one this kernel was given, and only while it is ours, closed to others, and holds nothing but sockets.
    """
    about = read_json(os.path.join(folder, "kernel.json"))
    sockets, lock = str((about or {}).get("sockets", folder)), os.path.join(folder, "alive")
    if about is None or about.get("host") != socket.gethostname() or sockets == folder:
        return
    try:
        status = os.lstat(sockets)
        ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
        old = time.time() - os.stat(lock).st_mtime > _STARTING
        if not ours or not old or not os.path.basename(sockets).startswith(_SOCKETS) or Alive(folder).held():
            return
        found = [
            entry.path for entry in os.scandir(sockets) if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
        ]
        if len(found) == len(os.listdir(sockets)):
            for path in found:
                os.unlink(path)
            os.rmdir(sockets)
    except OSError:
        pass  # it is gone, or it never had an agent


def _checked(name: str) -> str:
    if not _ID.fullmatch(name):
        raise UnknownJob(f"{name!r} is no id of a job or kernel")
    return name
