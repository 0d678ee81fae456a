"""Environments with a real-time-collaboration stack, beside the one that the tests run in. In the test process.

Such a stack changes what every page does, so it is not among what the tests install. An environment of its own sees all
that is installed here, and holds nothing but the stack; it is made once and kept in build/.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path

#: By the name that tests use.
STACKS = {"collaboration": "jupyter-collaboration>=5,<6", "documents": "jupyter-server-documents>=0.3,<0.4"}


def environment(name: str, repository: Path) -> tuple[str, Mapping[str, str]]:
    """The Python of an environment with stack `name`, and the variables it needs. Makes it if it is not there yet."""
    folder = repository / "build" / "stacks" / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "made"
        if not made.exists() or made.read_text() != _recipe(name):
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, STACKS[name])
            made.write_text(_recipe(name))
    here = Path(sys.prefix)
    return str(folder / "bin" / "python"), {
        "JUPYTER_PATH": f"{here}/share/jupyter",  # kernels, and the extensions of pages
        "JUPYTER_CONFIG_PATH": f"{here}/etc/jupyter",  # the extensions of the server
        "JUPYTERLAB_DIR": f"{here}/share/jupyter/lab",
        "VIRTUAL_ENV": str(folder),
        "PATH": f"{folder}/bin{os.pathsep}{os.environ['PATH']}",
    }


def _make(folder: Path, requirement: str) -> None:
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    inside = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    Path(inside, "_tests.pth").write_text(line)
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{requirement} cannot be installed:\n{done.stdout}{done.stderr}"


def _recipe(name: str) -> str:
    return f"{STACKS[name]} beside {sys.prefix}\n"
