"""Which Python runs the kernel: found, or made. Runs on the host, under whatever python3 the host has.

``auto``        the python3 that runs this, if it has ipykernel, else an environment of ours that sees its packages
``conda:NAME``  that conda environment
``/a/path``     that interpreter

With an environment that is wanted (see `environments.build`), one is made on top of that, unless it has all already.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from typing import Any, Callable

from ..errors import InterpreterUnfit

Notify = Callable[[str], None]

_ANOTHER = 'Name another interpreter, or set python = "auto" to have one chosen.'
_PROBE = "import importlib.util as u, sys; print(sys.version_info[:2] >= (3, 9), u.find_spec('ipykernel') is not None)"


def find(python: str, root: str, notify: Notify, env: dict[str, Any] | None = None) -> str:
    """The path of an interpreter with ipykernel, and with what `env` wants.

    Raises InterpreterUnfit with the command that cures it, HostStorage.
    """
    if env is not None:
        return _with(env, python, root, notify)
    if python == "auto":
        if importlib.util.find_spec("ipykernel") is not None:
            return sys.executable
        from .environments import build

        return build({"site": True}, root, notify, sys.executable)
    found, has_kernel = _given(python)
    if not has_kernel:
        hint = f'On the host run: {found} -m pip install ipykernel\nOr set python = "auto" to have an environment made.'
        raise InterpreterUnfit(f"{found} has no ipykernel", hint=hint)
    return found


def _with(env: dict[str, Any], python: str, root: str, notify: Notify) -> str:
    from .environments import build, fits
    from .versions import allows

    base = "" if python == "auto" else _given(python)[0]
    if fits(env, base or sys.executable, root):
        return base or sys.executable
    if base:
        from .building import version_of

        if not allows(str(env.get("python", "")), version := version_of(base)):
            words = f"{env.get('source') or 'the notebook'} wants Python {env['python']}, but {base} is {version}"
            raise InterpreterUnfit(words, hint=_ANOTHER)
    return build(env, root, notify, base)


def _given(python: str) -> tuple[str, bool]:
    """The interpreter that was named, and whether it has ipykernel. Raises InterpreterUnfit."""
    path = _conda(python[len("conda:") :]) if python.startswith("conda:") else os.path.expanduser(python)
    found = shutil.which(path)
    if found is None:
        raise InterpreterUnfit(f"there is no interpreter {path!r} on the host", hint=_ANOTHER)
    if found == sys.executable and importlib.util.find_spec("ipykernel") is not None:
        return found, True  # it runs this very line
    probe = subprocess.run([found, "-c", _PROBE], capture_output=True, text=True)
    if probe.returncode != 0:
        raise InterpreterUnfit(f"{found} does not run: {probe.stderr.strip()[-500:]}", hint=_ANOTHER)
    new_enough, has_kernel = probe.stdout.split()[-2:]  # the last words, should something greet before
    if new_enough != "True":
        raise InterpreterUnfit(f"{found} is too old: Python 3.9 or newer is needed", hint=_ANOTHER)
    return found, has_kernel == "True"


def _conda(name: str) -> str:
    """The interpreter of a conda environment, asked from conda itself or looked up where it is usually put."""
    conda = os.environ.get("CONDA_EXE") or shutil.which("conda") or shutil.which("mamba")
    homes = ["~/miniforge3", "~/miniconda3", "~/mambaforge", "~/anaconda3", "/opt/conda", "/opt/miniconda3"]
    for home in map(os.path.expanduser, homes):
        if conda is None and os.path.exists(f"{home}/bin/conda"):
            conda = f"{home}/bin/conda"
    if conda is None:
        raise InterpreterUnfit(f"no conda was found on the host for conda:{name}", hint="Give the interpreter's path.")
    listing = subprocess.run([conda, "env", "list", "--json"], capture_output=True, text=True)
    try:
        prefixes: list[str] = json.loads(listing.stdout)["envs"]
    except (ValueError, KeyError):
        raise InterpreterUnfit(f"{conda} did not list its environments: {listing.stderr.strip()[-300:]}") from None
    for prefix in prefixes:
        if os.path.basename(prefix) == name or (name == "base" and prefix == prefixes[0]):
            return os.path.join(prefix, "bin", "python")
    known = ", ".join(os.path.basename(prefix) for prefix in prefixes)
    raise InterpreterUnfit(f"conda has no environment {name!r} on the host", hint=f"It has: {known}.")
