"""What is well with this installation and what is missing, for ``lepton doctor``. Runs in the command line.

Every check answers with findings; an error of ours is a finding too, so one broken thing does not hide another.
"""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata

from .config import Config, state_dir
from .errors import LeptonError
from .registry import load
from .remote import no_prompt
from .store import JobStore
from .targets._base import Finding
from .targets._options import check_options

#: Distributions that are always needed.
_NEEDED = ("ipython", "ipykernel", "jupyter_client", "ipywidgets", "nbformat", "tomlkit")
#: Distributions that some uses need, with other names of them, and their extras.
_OPTIONAL = (
    (("paramiko",), "ssh", "hosts behind SSH"),
    (("jupyterlab",), "lab", "JupyterLab in this environment"),
    (("torch",), "torch", "PyTorch cells on this machine"),
    (("tensorflow", "tensorflow-cpu", "tf-nightly"), "tensorflow", "Keras cells on this machine"),
)
_LITTLE_DISK = 1 << 30


def examine() -> list[Finding]:
    """Findings about this Python, the packages, ``lepton.toml``, the state folder and the job store."""
    return [finding for check in (_python, _packages, _config, _state) for finding in _found(check)]


def _found(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    findings: list[Finding] = []
    try:
        findings.extend(check())
    except LeptonError as error:
        findings.append(_wrong(check.__name__.strip("_"), error))
    return findings


def _python() -> Iterator[Finding]:
    yield Finding(
        subject="lepton-jupyter", ok=True, value=_version("lepton-jupyter") or "not installed, run from source"
    )
    fits = sys.version_info >= (3, 10)
    cure = "" if fits else "Install lepton-jupyter in an environment with Python 3.10 or newer."
    yield Finding(subject="Python", ok=fits, value=f"{platform.python_version()} ({sys.executable})", cure=cure)


def _packages() -> Iterator[Finding]:
    for name in _NEEDED:
        version = _version(name)
        cure = "" if version else "pip install lepton-jupyter"
        yield Finding(subject=name, ok=version is not None, value=version or "not installed", cure=cure)
    for (name, *others), extra, use in _OPTIONAL:
        version = next(filter(None, map(_version, (name, *others))), None)
        cure = "" if version else f'For {use}: pip install "lepton-jupyter[{extra}]"'
        yield Finding(subject=name, ok=True if version else None, value=version or "not installed", cure=cure)


def _config() -> Iterator[Finding]:
    config = Config.load()
    there = "" if config.path.exists() else " (not written yet)"
    yield Finding(subject="config", ok=True, value=f"{config.path}{there}")
    default = config.target()
    for name, target in config.targets.items():
        try:
            plugin = load("targets", target.kind)
            plugin(name, check_options(plugin.Config, target.options, config.where(name)), no_prompt).close()
        except LeptonError as error:
            yield _wrong(f"target {name}", error)
        else:
            said = f"{target.kind}, the default" if name == default.name else target.kind
            yield Finding(subject=f"target {name}", ok=True, value=said)


def _state() -> Iterator[Finding]:
    folder = state_dir()
    free = shutil.disk_usage(folder).free
    cure = "" if free >= _LITTLE_DISK else "Free some disk space, or let LEPTON_HOME name a folder on another disk."
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise LeptonError(
            f"nothing can be written to {folder}: {error.strerror}", hint="LEPTON_HOME names another folder."
        ) from None
    yield Finding(subject="state", ok=not cure, value=f"{folder}, {free / (1 << 30):.1f} GiB free", cure=cure)
    store = JobStore.load()
    try:
        store.forget_kernel("", "")  # takes the right to write
        yield Finding(subject="job store", ok=True, value=f"{store.count():,} jobs")
    finally:
        store.close()


def _wrong(subject: str, error: LeptonError) -> Finding:
    return Finding(subject=subject, ok=False, value=error.message, cure=error.hint)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
