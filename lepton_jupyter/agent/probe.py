"""What a host has and lacks, for `%lepton_target test`. Runs on the host."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from typing import Any

from ..errors import InterpreterUnfit, LeptonError
from . import facts
from .interpreter import find
from .storage import private_folder
from .vendor import said
from .versions import needed_driver, too_old

#: Below this much free disk a job's journal is at risk.
_LITTLE_DISK = 1 << 30
_FRAMEWORKS = ("keras", "jax")


def findings(root: str, python: str) -> list[dict[str, Any]]:
    """Rows of subject, ok (None: neither good nor bad), value, cure."""
    return [_system(), _storage(root), *_interpreter(root, python), *_accelerators()]


def _row(subject: str, ok: bool | None, value: str, cure: str = "") -> dict[str, Any]:
    return {"subject": subject, "ok": ok, "value": value, "cure": cure}


def _system() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return _row("system", None, f"{platform.node()}: {platform.system()} {platform.machine()}, {cores} cores")


def _storage(root: str) -> dict[str, Any]:
    try:
        private_folder(root)
    except LeptonError as error:
        return _row("storage", False, error.message, error.hint)
    free = shutil.disk_usage(root).free
    cure = "Free some space, or set the target's `root` to another disk." if free < _LITTLE_DISK else ""
    return _row("storage", free >= _LITTLE_DISK, f"{free / (1 << 30):.1f} GiB free in {root}", cure)


def _interpreter(root: str, python: str) -> list[dict[str, Any]]:
    """The Python that would run a kernel, what it has for one, and how it would get more."""
    path = sys.executable
    if python != "auto" or importlib.util.find_spec("ipykernel") is not None:
        try:
            path = find(python, "", lambda text: None)
        except InterpreterUnfit as error:
            return [_row("Python", False, error.message, error.hint)]
    try:
        found = facts.facts(path, root)
    except InterpreterUnfit as error:
        return [_row("Python", False, error.message, error.hint)]
    kernel = found["packages"].get("ipykernel")
    has = f"ipykernel {kernel}" if kernel else "without ipykernel: an environment will be made"
    return [_row("Python", True, f"{path} {found['python']}, {has}"), _packages(path, found), *_frameworks(found)]


def _packages(python: str, found: dict[str, Any]) -> dict[str, Any]:
    """What makes environments there."""
    if found["uv"]:
        version = (said(found["uv"], "--version") or "uv").strip()
        return _row("packages", True, f"{version} makes environments: {found['uv']}")
    if found["venv"]:
        return _row("packages", True, "venv and pip make environments", "")
    version = ".".join(found["python"].split(".")[:2])
    cure = f"For --env auto: {python} -m pip install --user uv, or sudo apt-get install python{version}-venv"
    return _row("packages", None, "neither uv nor venv: no environment can be made", cure)


def _frameworks(found: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, build in (("PyTorch", found["torch"]), ("TensorFlow", found["tensorflow"])):
        if build:
            rows.append(_framework(name, build, found))
    others = [f"{name} {found['packages'][name]}" for name in _FRAMEWORKS if name in found["packages"]]
    if others or not rows:
        rows.append(_row("frameworks", True if others else None, ", ".join(others) or "none"))
    return rows


def _framework(name: str, build: dict[str, str], found: dict[str, Any]) -> dict[str, Any]:
    """A framework, what it was built for, and whether that fits the GPUs here."""
    version, cuda, driver = build.get("version", ""), build.get("cuda", ""), found["driver"]
    if "cuda" in build:
        value = f"{version} for CUDA {cuda}".strip()
        if too_old(driver, cuda):
            cure = (
                f"Update the driver to {needed_driver(cuda)} or newer, or run with --env auto to get a build that fits."
            )
            return _row(name, False, f"{value}, too new for the driver {driver}", cure)
        return _row(name, True, value)
    if build.get("hip"):
        return _row(name, bool(found["rocm"]), f"{version} for ROCm", "" if found["rocm"] else "There is no ROCm here.")
    if found["gpus"]:
        return _row(
            name,
            False,
            f"{version} without CUDA: it can't use the GPU",
            "Run with --env auto, or install its build for CUDA.",
        )
    return _row(name, True, f"{version} without CUDA")


def _accelerators() -> list[dict[str, Any]]:
    """Each GPU by its own tool, which also tells a driver that hangs or does not match."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,memory.used,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    except FileNotFoundError:
        return _without_nvidia_smi()
    except subprocess.TimeoutExpired:
        return [_row("accelerator", False, "nvidia-smi does not answer", "The driver hangs: the host needs a look.")]
    if done.returncode != 0:
        return [_row("accelerator", False, f"nvidia-smi: {done.stdout.strip() or done.stderr.strip()}")]
    return [_row("accelerator", True, line.strip()) for line in done.stdout.splitlines() if line.strip()]


def _without_nvidia_smi() -> list[dict[str, Any]]:
    driver, gpus = facts.nvidia()
    if gpus:
        return [_row("accelerator", True, f"{gpu}, driver {driver}") for gpu in gpus]
    if facts.rocm():
        return [_row("accelerator", True, f"GPU of AMD, ROCm {facts.rocm()}")]
    tpus = [name for name in os.listdir("/dev") if name.startswith("accel")] if os.path.isdir("/dev") else []
    return [_row("accelerator", True if tpus else None, f"{len(tpus)} TPU chips" if tpus else "no GPU or TPU found")]
