"""Outliving the login: what systemd must be told, where it would otherwise end our processes. Runs on the host.

A new Unix session is enough nearly everywhere. Where logind has ``KillUserProcesses=yes``, only what runs under the
user's own service manager survives a logout, and that manager only survives with lingering enabled
(https://www.freedesktop.org/software/systemd/man/logind.conf.html).
"""

from __future__ import annotations

import shutil
import subprocess
from typing import Callable

_ASK = [
    "busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1",
    "org.freedesktop.login1.Manager", "KillUserProcesses",
]  # fmt: skip


def survive_logout(notify: Callable[[str], None]) -> list[str]:
    """The command to put before the agent's own so that it outlives the login; said when that cannot be had."""
    if shutil.which("busctl") is None or _output(_ASK) != "b true":
        return []
    scope = ["systemd-run", "--user", "--scope", "--quiet", "--collect"]
    if _works(["loginctl", "enable-linger"]) and _works([*scope, "true"]):  # a login may have no service manager
        return scope
    notify("this host ends your processes when you log out (KillUserProcesses=yes); ask for: loginctl enable-linger")
    return []


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=5).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
