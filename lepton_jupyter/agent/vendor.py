"""What the makers of accelerators have in common: a device as we write it, numbers as their tools do, and how to ask.

Runs in the agent's sampling thread, and in the reader's.
"""

from __future__ import annotations

import os
import subprocess
from typing import Any, Protocol

#: A tool that takes longer belongs to a driver that hangs.
_TIMEOUT = 10.0

Device = dict[str, Any]  # kind, index, name, util, memory_used, memory_total, temperature, power, processes


class Vendor(Protocol):
    """One maker's tool or library."""

    def read(self) -> list[Device] | None:
        """The devices now; None when the tool fails."""


def device(kind: str, index: int, name: str, **known: Any) -> Device:
    """A device of which `known` is known."""
    blank = dict.fromkeys(("util", "memory_used", "memory_total", "temperature", "power"))
    return {"kind": kind, "index": index, "name": name, **blank, "processes": [], **known}


def process(pid: int, name: str, memory: float | None) -> dict[str, Any]:
    """A process that holds a device; whose it is, is for the caller to say."""
    name = "" if name.startswith("[") else os.path.basename(name.split(" ")[0])  # "[N/A]", "[Not Found]"
    return {"pid": pid, "user": "", "name": name, "memory": memory, "job": ""}


def number(text: Any, scale: float = 1.0) -> float | None:
    """A number as tools write it; None for ``[N/A]``, ``[Not Supported]``, ``N/A``, an empty cell."""
    try:
        value = float(text) * scale
    except (TypeError, ValueError):
        return None
    return value if value == value and abs(value) != float("inf") else None


def whole(text: Any, scale: float = 1.0) -> int | None:
    """Like `number`, for bytes and ids."""
    value = number(text, scale)
    return None if value is None else int(value)


def said(*command: str) -> str | None:
    """What a tool prints; None when it fails or hangs."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
