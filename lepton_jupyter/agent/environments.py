"""Environments that we make on a host: built once for what is wanted, shared by launches, forgotten when unused.

Runs on the host, in the process that launches an agent. ``ROOT/envs/DIGEST`` is an environment, ``complete`` in it says
that it was made to its end, ``used`` when it was last; ``DIGEST.lock`` is held while somebody makes or removes it. The
digest is that of all that decides what is in it: what is wanted, the Python it is based on, the accelerator.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import socket
import sys
import time
from typing import Any

from ..errors import HostStorage, InterpreterUnfit
from . import facts
from .building import KERNEL, Build, Notify, version_of
from .installers import name_of
from .storage import Alive, private_folder, read_json
from .versions import allows, too_old

#: An environment that no kernel used for so many seconds is removed.
KEEP = 30 * 24 * 3600.0


def build(spec: dict[str, Any], root: str, notify: Notify, base: str = "") -> str:
    """The path of an interpreter that has what `spec` wants, and ipykernel. At once when it was made before.

    `spec`: ``requirements``, ``constraints``, ``options`` (lines of a requirements file), ``also`` (requirements of our
    own), ``python`` (``>=3.10``), ``prefer`` (``3.11``), ``site`` (whether the packages of `base` are seen), ``source``
    (where that is written, in words); each may be absent. `base` is the interpreter to build on, by default one of the
    right version.

    Raises InterpreterUnfit with the installer's last words, HostStorage when the disk is full. A failed build leaves
    nothing behind.
    """
    base = base or choose(spec)
    wanted = {key: spec[key] for key in ("requirements", "constraints", "options", "also", "site") if spec.get(key)}
    host = facts.host(root)
    key = json.dumps([wanted, KERNEL, _identity(base), platform.machine(), facts.accelerator(host)], sort_keys=True)
    folder = os.path.join(private_folder(os.path.join(root, "envs")), hashlib.sha256(key.encode()).hexdigest()[:16])
    python = os.path.join(folder, "bin", "python")
    lock = Alive(private_folder(folder + ".lock"))
    told = False
    while not lock.take():
        if not told:
            notify("waiting for another launch that makes the environment")
        told = True
        time.sleep(0.5)
    try:
        if not os.path.exists(os.path.join(folder, "complete")):
            shutil.rmtree(folder, ignore_errors=True)
            try:
                Build(spec, base, folder, host, notify, lock).make()
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        _touch(folder)
    finally:
        lock.free()
    return python


def fits(spec: dict[str, Any], python: str, root: str) -> bool:
    """Whether an interpreter has all that `spec` wants already, as far as names and versions tell."""
    requirements = [*KERNEL, *spec.get("requirements", ())]
    if spec.get("constraints") or any("--hash" in line for line in requirements):
        return False
    found = facts.facts(python, root, requirements=requirements)
    if found["unmet"] or not allows(spec.get("python", ""), found["python"]):
        return False
    torch = any(name_of(line) == "torch" for line in requirements)
    cuda = found["torch"].get("cuda", "")
    return not (torch and found["driver"] and (not cuda or too_old(found["driver"], cuda)))


def choose(spec: dict[str, Any]) -> str:
    """An interpreter to build on: of the version that is preferred, else this one, else any that will do.

    Where there is none but uv, ``>=3.12``: uv finds or fetches it. Raises InterpreterUnfit.
    """
    wanted, prefer = str(spec.get("python", "")), str(spec.get("prefer", ""))
    here = platform.python_version()
    if allows(wanted, here) and (not prefer or here.startswith(f"{prefer}.")):
        return sys.executable
    minors = [prefer] * bool(prefer) + [f"3.{minor}" for minor in range(30, 8, -1)]
    found = [path for minor in minors if (path := shutil.which(f"python{minor}")) and allows(wanted, version_of(path))]
    if found and (os.path.basename(found[0]) == f"python{prefer}" or not allows(wanted, here)):
        return found[0]
    if allows(wanted, here):
        return sys.executable
    if facts.uv():
        return wanted.replace(" ", "")
    words = f"{spec.get('source') or 'the notebook'} wants Python {wanted}, but this host has {here}"
    hint = f"Put a Python {wanted} on the PATH there, or uv, which fetches one: pip install uv"
    raise InterpreterUnfit(words, hint=hint)


def forget_unused(root: str) -> None:
    """Remove the environments that no kernel used for long; never one that a living kernel runs in."""
    envs = os.path.join(root, "envs")
    in_use = _in_use(root)
    for name in os.listdir(envs) if os.path.isdir(envs) else []:
        folder = os.path.join(envs, name)
        with contextlib.suppress(OSError, HostStorage):  # another launch removes it too
            if name.endswith(".old"):  # whoever removed it was interrupted
                shutil.rmtree(folder)
            elif os.path.realpath(folder) in in_use:
                _touch(folder)
            elif not name.endswith(".lock") and time.time() - _used(folder) > KEEP:
                _forget(folder)


def _forget(folder: str) -> None:
    lock = Alive(private_folder(folder + ".lock"))
    if lock.take():
        try:
            if time.time() - _used(folder) > KEEP:  # nobody took it meanwhile
                os.rename(folder, folder + ".old")
                shutil.rmtree(folder + ".old")
        finally:
            lock.free()


def _identity(base: str) -> list[str]:
    """The interpreter itself, so that an upgrade of it makes a new environment."""
    path = os.path.realpath(base) if os.path.isabs(base) else base
    return [path, sys.version if base == sys.executable else version_of(base)]


def _touch(folder: str) -> None:
    path = os.path.join(folder, "used")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w"):
        os.utime(path)


def _used(folder: str) -> float:
    """When an environment was last used; environments of older agents say only when they were made."""
    for name in ("used", "complete", ""):
        try:
            return os.stat(os.path.join(folder, name)).st_mtime
        except FileNotFoundError:
            continue
    return time.time()  # it is gone


def _in_use(root: str) -> set[str]:
    """The environments of the kernels that live. Of another host's kernels we can't be sure: they count as living."""
    found = set()
    kernels = os.path.join(root, "kernels")
    for kernel in os.listdir(kernels) if os.path.isdir(kernels) else []:
        folder = os.path.join(kernels, kernel)
        about = read_json(os.path.join(folder, "kernel.json"))
        if about and (about.get("host") != socket.gethostname() or Alive(folder).held()):
            found.add(os.path.realpath(os.path.dirname(os.path.dirname(str(about.get("python", ""))))))
    return found
