"""Facts about this host that decide whether a cell can run: its Python, packages, driver, GPUs, disk and tools.

Runs on the host, in the agent or in the reader. Everything here answers within some tenths of a second.
"""

from __future__ import annotations

import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import InterpreterUnfit
from . import installed
from .vendor import said
from .versions import too_old

#: A Python that takes longer to say what it has does not work.
_TIMEOUT = 60.0
#: What nvidia-smi said: it may take a second, and the driver does not change under a process that uses it.
_answers: dict[str, tuple[str, list[str]]] = {}
_NVIDIA = "/proc/driver/nvidia"
_VERSION = re.compile(r"\b(\d{3,4}(?:\.\d+)+)\b")


def facts(
    python: str = "", root: str = "", modules: Iterable[str] = (), requirements: Iterable[str] = ()
) -> dict[str, Any]:
    """What `installed.look` says of an interpreter, and this host's driver, gpus, rocm, disk (bytes free) and uv.

    ``unmet`` is the first of `requirements` that this interpreter does not meet. Raises InterpreterUnfit.
    """
    return {**_of(python or sys.executable, list(modules), list(requirements)), **host(root)}


def host(root: str = "") -> dict[str, Any]:
    """The part that is the same for every interpreter here."""
    driver, gpus = nvidia()
    try:
        free = shutil.disk_usage(root or os.path.expanduser("~")).free
    except OSError:
        free = 0
    return {"driver": driver, "gpus": gpus, "rocm": rocm(), "disk": free, "uv": uv()}


def _of(python: str, modules: list[str], requirements: list[str]) -> dict[str, Any]:
    if python == sys.executable:
        return {**installed.look(modules), "unmet": installed.unmet(requirements)}
    script = pkgutil.get_data(__package__, "installed.py")  # we may live in a zip
    assert script is not None
    asked = json.dumps({"modules": modules, "requirements": requirements})
    try:
        done = subprocess.run(
            [python, "-c", script.decode()], input=asked, capture_output=True, text=True, timeout=_TIMEOUT, cwd="/"
        )
        found: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        words = done.stderr.strip()[-500:] if isinstance(error, ValueError) else str(error)
        raise InterpreterUnfit(f"{python} does not say what it has: {words}") from None
    return found


def nvidia() -> tuple[str, list[str]]:
    """The version of NVIDIA's driver and the names of its GPUs; ("", []) where there is none."""
    driver, gpus = "", []
    try:
        with open(os.path.join(_NVIDIA, "version"), errors="replace") as file:
            found = _VERSION.search(file.readline())
        driver = found[1] if found else ""
        for name in sorted(os.listdir(os.path.join(_NVIDIA, "gpus"))):
            with open(os.path.join(_NVIDIA, "gpus", name, "information"), errors="replace") as file:
                gpus += [line.partition(":")[2].strip() for line in file if line.startswith("Model:")]
    except OSError:
        pass  # no driver, or one that shows itself to its tool alone, as in WSL
    tool = shutil.which("nvidia-smi")
    if (driver and gpus) or tool is None:
        return (driver, gpus) if gpus else ("", [])
    if tool not in _answers:
        listed = said(tool, "--query-gpu=driver_version,name", "--format=csv,noheader") or ""
        rows = [line.split(",", 1) for line in listed.splitlines() if "," in line]
        if not rows:
            return "", []
        _answers[tool] = rows[0][0].strip(), [name.strip() for _, name in rows]
    return _answers[tool]


def accelerator(host: Mapping[str, Any]) -> str:
    """What decides between builds of a framework: ``cuda13`` (what the driver is good for), ``rocm`` or ``cpu``."""
    if not host["driver"]:
        return "rocm" if host["rocm"] else "cpu"
    return "cuda" + next((cuda for cuda in ("13", "12", "11") if not too_old(host["driver"], cuda)), "")


def rocm() -> str:
    """The version of AMD's ROCm ("unknown version" when it doesn't say); "" where no GPU of AMD can compute."""
    if not os.path.exists("/dev/kfd"):
        return ""
    try:
        with open("/opt/rocm/.info/version") as file:
            return file.read(64).strip()
    except OSError:
        return "unknown version"


def uv() -> str:
    """The path of uv, where it usually lies or where this Python has it; "" when there is none."""
    usual = ["~/.local/bin/uv", "~/.cargo/bin/uv", os.path.join(os.path.dirname(sys.executable), "uv")]
    found = shutil.which("uv") or next(filter(None, (shutil.which(os.path.expanduser(path)) for path in usual)), None)
    return found or ""
