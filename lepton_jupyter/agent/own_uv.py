"""A uv of our own, where the host has none: got once with the host's pip, used by all environments after it.

Runs on the host, in the process that launches an agent. It lies beside the environments, in a folder named by the
digest of the machine it is for, and goes like one of them when it was not used for long.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from typing import Callable

from ..errors import InterpreterUnfit
from .storage import Alive, private_folder, write_json

#: Who has no index for it shall learn so soon: pip alone does it then, in the same words and with the usual patience.
_HURRIED = {"PIP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": "15"}

#: Runs a command with more variables. Raises InterpreterUnfit when it fails.
Run = Callable[[list[str], dict[str, str]], None]


def own_uv(envs: str, base: str, run: Run, notify: Callable[[str], None]) -> str:
    """The path of a uv in a folder of `envs`, installed there by the pip of the interpreter `base` if need be.

    "" where that can't be done, which is said. Raises HostStorage when the disk is full.
    """
    about = [platform.machine(), sys.platform, *platform.libc_ver()]
    digest = hashlib.sha256(json.dumps(["uv", *about]).encode()).hexdigest()[:16]
    folder = os.path.join(private_folder(envs), digest)
    path, complete = os.path.join(folder, "bin", "uv"), os.path.join(folder, "complete")
    lock = Alive(private_folder(folder + ".lock"))
    while not lock.take():  # another launch gets it
        time.sleep(0.5)
    try:
        if not os.path.exists(complete) or not _works(path):
            shutil.rmtree(folder, ignore_errors=True)
            notify("getting uv, which makes environments faster than pip; it is kept")
            try:
                wanted = ["--target", folder, "--no-deps", "--only-binary", ":all:", "uv"]
                run([base, "-m", "pip", "install", *wanted], _HURRIED)
                if not _works(path):
                    raise InterpreterUnfit("it does not run here")
            except InterpreterUnfit as error:
                shutil.rmtree(folder, ignore_errors=True)
                said = error.message.splitlines()  # what was run, then why it failed
                notify(f"uv can't be had here ({said[min(1, len(said) - 1)][:120]}): pip does it, and takes longer")
                return ""
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            os.chmod(folder, 0o700)
            write_json(complete, {"source": "uv", "machine": about})
        write_json(os.path.join(folder, "used"), {})
    finally:
        lock.free()
    return path


def _works(uv: str) -> bool:
    try:
        return subprocess.run([uv, "--version"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False
