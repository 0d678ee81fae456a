"""What a host's own counters say: CPU, memory, processes. Runs in the agent's sampling thread, and in the reader's.

By psutil, which every ipykernel brings; the host's own python3 may lack it, and then by /proc.
"""

from __future__ import annotations

import contextlib
import math
import os
from typing import Any, NamedTuple, Protocol

_CGROUP = "/sys/fs/cgroup"


class Spent(NamedTuple):
    """What a process has used so far."""

    began: float  # tells two processes of one pid apart
    cpu: float  # seconds
    memory: int  # bytes
    shared: int  # bytes of it that others may share


class Machine(Protocol):
    """The counters of this host."""

    def cpu(self) -> tuple[float, float]:
        """Seconds that all cores together were busy, and seconds there were."""

    def memory(self) -> tuple[int, int]:
        """Bytes used and in all."""

    def process(self, pid: int) -> Spent | None:
        """What a process has used; None when it is gone."""


def this_machine() -> Machine | None:
    """The counters, or None where there are none."""
    with contextlib.suppress(Exception):  # a psutil that is broken is as good as none
        return _Psutil()
    return _Proc() if os.path.exists("/proc/stat") else None


def cores() -> int:
    """How many cores we may use: those given to us, less what a container's limit takes."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = _read(f"{_CGROUP}/cpu.max").split()
        count = min(count, max(1, math.ceil(int(quota) / int(period))))
    return count


def within_limit(used: int, total: int) -> tuple[int, int]:
    """Memory used and in all, where a container may have less than the machine."""
    with contextlib.suppress(OSError, ValueError):
        limit = int(_read(f"{_CGROUP}/memory.max"))
        if limit < total:
            stat = dict(line.split() for line in _read(f"{_CGROUP}/memory.stat").splitlines())
            return max(0, int(_read(f"{_CGROUP}/memory.current")) - int(stat.get("inactive_file", 0))), limit
    return used, total


class _Psutil:
    def __init__(self) -> None:
        import psutil

        self._psutil: Any = psutil
        self._processes: dict[int, Any] = {}
        self.cpu()

    def cpu(self) -> tuple[float, float]:
        times = self._psutil.cpu_times()
        guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # is in user and nice already
        everything = sum(times) - guest
        return everything - times.idle - getattr(times, "iowait", 0.0), everything

    def memory(self) -> tuple[int, int]:
        found = self._psutil.virtual_memory()
        return found.total - found.available, found.total

    def process(self, pid: int) -> Spent | None:
        if len(self._processes) > 2000:
            self._processes.clear()  # those that are gone
        try:
            known = self._processes.get(pid)
            if known is None or not known.is_running():
                known = self._processes[pid] = self._psutil.Process(pid)
            with known.oneshot():
                times, memory = known.cpu_times(), known.memory_info()
                spent = times.user + times.system
                return Spent(known.create_time(), spent, memory.rss, getattr(memory, "shared", 0))
        except self._psutil.Error:
            self._processes.pop(pid, None)
            return None


class _Proc:
    def __init__(self) -> None:
        self._tick = os.sysconf("SC_CLK_TCK")
        self._page = os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> tuple[float, float]:
        times = [int(word) / self._tick for word in _read("/proc/stat").split("\n", 1)[0].split()[1:9]]
        return sum(times) - times[3] - times[4], sum(times)

    def memory(self) -> tuple[int, int]:
        rows = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines() if ":" in line)
        total, available = (int(rows[name].split()[0]) << 10 for name in ("MemTotal", "MemAvailable"))
        return total - available, total

    def process(self, pid: int) -> Spent | None:
        try:
            words = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            pages = _read(f"/proc/{pid}/statm").split()
        except OSError:
            return None
        spent = (int(words[11]) + int(words[12])) / self._tick
        return Spent(int(words[19]) / self._tick, spent, int(pages[1]) * self._page, int(pages[2]) * self._page)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()
