"""One look at a host: CPU, memory, disk, accelerators, who holds them, and what the kernel's processes use.

Runs in the agent's sampling thread; in the reader, for a target without a kernel. A rate is the mean since the look
before, so one sampler serves one thread.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from typing import Any

from .devices import Devices
from .machine import Machine, Spent, cores, this_machine, within_limit
from .processes import MARKER, family_of
from .storage import Alive, kernel_folder, read_json

#: After so long, a rate since the look before would say nothing of now.
_STALE = 15.0
#: The shortest time over which a rate is measured.
_SHORT = 0.25


class Sampler:
    """Looks at this host for one agent, or for a reader (without a kernel)."""

    def __init__(self, root: str, kernel_id: str = "") -> None:
        self._root, self._kernel_id = root, kernel_id
        self._devices = Devices()
        self._machine: Machine | None = this_machine()
        self._looked = float("-inf")
        self._cpu = (0.0, 0.0)
        self._spent: dict[int, Spent] = {}

    def sample(self, pid: int = 0, job: str = "") -> dict[str, Any]:
        """The host now, and the kernel whose process is `pid` and which runs `job`; without `queue`."""
        if time.monotonic() - self._looked > _STALE:
            self._count(pid)
            time.sleep(_SHORT)
        sample = self._count(pid)
        family = set(self._spent)
        sample["devices"] = devices = self._devices.read()
        owners = _Owners(self._root, self._kernel_id, job, family)
        for device in devices:
            for holder in device["processes"]:
                owners.name(holder)
        if sample["kernel"] is not None:
            held = [holder["memory"] for device in devices for holder in device["processes"] if holder["mine"]]
            sample["kernel"]["gpu_memory"] = sum(filter(None, held)) if held else None
        return sample

    def _count(self, pid: int) -> dict[str, Any]:
        """What the counters say, and the rates since they were read before."""
        now, machine = time.monotonic(), self._machine
        passed, self._looked = now - self._looked, now
        sample: dict[str, Any] = {
            "time": time.time(),
            "host": socket.gethostname(),
            "cpu": {"count": cores(), "percent": None},
            "memory": {"used": None, "total": None},
            "disk": _disk(self._root),
            "load": os.getloadavg()[0],
            "kernel": None,
        }
        if machine is None:
            return sample
        busy, everything = machine.cpu()
        if everything > self._cpu[1]:
            share = (busy - self._cpu[0]) / (everything - self._cpu[1])
            sample["cpu"]["percent"] = round(100 * min(max(share, 0.0), 1.0), 1)
        self._cpu = (busy, everything)
        used, total = within_limit(*machine.memory())
        sample["memory"] = {"used": used, "total": total}
        before, self._spent = self._spent, {}
        if pid:
            family = family_of(pid, f"{MARKER}={self._kernel_id}")
            self._spent = {member: spent for member in family if (spent := machine.process(member)) is not None}
            sample["kernel"] = {
                "cpu": round(100 * _seconds(before, self._spent) / max(passed, 0.01), 1),
                "memory": _memory(list(self._spent.values())),
                "gpu_memory": None,
                "processes": len(self._spent),
            }
        return sample


def running_on(root: str) -> list[dict[str, Any]]:
    """The jobs that run on this host, by the notes of the agents that live: job, name, state."""
    folder = os.path.join(root, "kernels")
    found = []
    for kernel in os.listdir(folder) if os.path.isdir(folder) else []:
        note = _note(root, kernel)
        if note is not None:
            found.append({"job": note["job"], "name": note["name"], "state": "RUNNING"})
    return found


def note_path(root: str, kernel_id: str) -> str:
    """Where an agent notes the job that runs, for others to name it by."""
    return os.path.join(kernel_folder(root, kernel_id), "running")


def _note(root: str, kernel_id: str) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        note = read_json(note_path(root, kernel_id))
        if note and Alive(kernel_folder(root, kernel_id)).held():
            return {"job": str(note["job"]), "name": str(note["name"])}
    return None


class _Owners:
    """Says whose a process on a device is."""

    def __init__(self, root: str, kernel_id: str, job: str, family: set[int]) -> None:
        self._root, self._kernel_id, self._job, self._family = root, kernel_id, job, family

    def name(self, holder: dict[str, Any]) -> None:
        """Add `user`, `name` (when the tool did not say it), `job` and `mine` to a holder of a device."""
        pid = holder["pid"]
        holder["mine"] = pid in self._family
        with contextlib.suppress(OSError):
            holder["user"] = _user(os.stat(f"/proc/{pid}").st_uid)
            if not holder["name"]:
                with open(f"/proc/{pid}/comm", errors="replace") as file:
                    holder["name"] = file.read().strip()
        if holder["mine"]:
            holder["job"] = self._job
        elif kernel := _kernel_of(pid):
            holder["job"] = self._job if kernel == self._kernel_id else (_note(self._root, kernel) or {}).get("job", "")


def _kernel_of(pid: int) -> str:
    """The kernel a process belongs to, by the mark in its environment, where we may read it."""
    mark = f"{MARKER}=".encode()
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        for entry in file.read().split(b"\0"):
            if entry.startswith(mark):
                return entry[len(mark) :].decode("ascii", "replace")
    return ""


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _disk(path: str) -> dict[str, Any]:
    try:
        found = shutil.disk_usage(path)
    except OSError:
        return {"path": path, "used": None, "total": None}
    return {"path": path, "used": found.used, "total": found.total}


def _seconds(before: dict[int, Spent], after: dict[int, Spent]) -> float:
    """Seconds of CPU between two looks; a process that was born meanwhile counts from its birth."""
    total = 0.0
    for pid, spent in after.items():
        known = before.get(pid)
        if known is not None and known.began == spent.began:
            total += spent.cpu - known.cpu
        elif before:
            total += spent.cpu
    return total


def _memory(family: list[Spent]) -> int:
    """Bytes that processes use together: what forked workers share with their parent counts once."""
    if not family:
        return 0
    return sum(spent.memory - spent.shared for spent in family) + max(spent.shared for spent in family)
