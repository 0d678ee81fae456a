"""Ending processes for sure: whole families, not only the parent. Runs on the host.

A cell may start children that leave its process group. All of them carry the kernel's mark in their environment
(`/proc/PID/environ`), so on Linux none escapes; elsewhere the process group is what can be reached.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time

#: Environment variable that names the kernel a process belongs to.
MARKER = "LEPTON_KERNEL"


def end_family(pid: int, mark: str, grace: float) -> int:
    """Ask (SIGTERM), wait `grace` seconds, then SIGKILL all of `pid`'s family; how many there were.

    On return none of them runs. Processes that already ended cost nothing.
    """
    family = _family(pid, mark)
    for sign, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        for member in family:
            _signal(member, sign)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            living = {member for member in family | _family(pid, mark) if _runs(member)}
            if not living:
                return len(family)
            if sign == signal.SIGKILL:
                for member in living - family:  # born meanwhile
                    _signal(member, sign)
            family |= living
            time.sleep(0.02)
    raise OSError(f"processes {sorted(family)} could not be ended")


def gpu_memory(pids: set[int]) -> int:
    """MiB of GPU memory that `pids` hold, by nvidia-smi; 0 where there is none."""
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    try:
        rows = subprocess.run(query, capture_output=True, text=True, timeout=10).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return 0
    cells = [[cell.strip() for cell in row.split(",")] for row in rows]
    return sum(int(row[1]) for row in cells if len(row) == 2 and row[0].isdigit() and int(row[0]) in pids
               and row[1].isdigit())  # fmt: skip


def family_of(pid: int, mark: str) -> set[int]:
    """The pids of the living family."""
    return {member for member in _family(pid, mark) if _runs(member)}


def _family(pid: int, mark: str) -> set[int]:
    found = {pid} if pid > 0 else set()
    needle = mark.encode()
    try:
        candidates = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        candidates = []  # no /proc: the group is all we know
    for candidate in candidates:
        try:
            with open(f"/proc/{candidate}/environ", "rb") as file:
                if needle in file.read().split(b"\0"):
                    found.add(candidate)
        except OSError:
            continue
    found.discard(os.getpid())
    return found


def _signal(pid: int, sign: int) -> None:
    try:
        os.kill(pid, sign)
    except (ProcessLookupError, PermissionError):
        return
    try:
        if os.getpgid(pid) == pid and pid != os.getpgid(0):
            os.killpg(pid, sign)
    except (ProcessLookupError, PermissionError):
        return


def _runs(pid: int) -> bool:
    """Whether `pid` lives; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return False
    except OSError:
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
