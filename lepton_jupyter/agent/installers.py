"""uv or pip: how to make an environment and to put packages into it. Runs on the host.

uv is used where it is found, else venv with pip. Both obey this host's own settings: uv, which reads no pip.conf and no
PIP_* variable, is told in its own variables what they say, unless it has settings of its own.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

from ..errors import InterpreterUnfit
from .facts import accelerator
from .installed import normal

#: Settings of uv that say where packages come from; with any of them, pip's are left alone.
_UV_SOURCES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_CONFIG_FILE")
#: Would send packages elsewhere, name another environment, or colour what is said (as Jupyter asks for).
_MISLEADING = (
    "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "VIRTUAL_ENV", "PYTHONHOME", "UV_SYSTEM_PYTHON",
    "FORCE_COLOR", "CLICOLOR_FORCE",
)  # fmt: skip
#: Distributions that come in a build for each accelerator, and those that bring them along.
_TORCH = ("torch", "torchvision", "torchaudio")
_NEED_TORCH = (
    *_TORCH, "accelerate", "diffusers", "fastai", "lightning", "peft", "pytorch-lightning", "sentence-transformers",
    "timm", "torchmetrics",
)  # fmt: skip
#: PyTorch's name for the build that suits an accelerator; the others get the default build.
_TORCH_BUILDS = {"cpu": "cpu", "cuda12": "cu126", "cuda11": "cu118"}
_TORCH_INDEX = "https://download.pytorch.org/whl/"
_PINNED = re.compile(r"([A-Za-z0-9._-]+)\s*==\s*([0-9][A-Za-z0-9.]*)\s*")
_TENSORFLOW = re.compile(r"\s*tensorflow(?:-cpu)?\s*(?:\[[^\]]*\])?\s*(?=[=<>!~;]|$)(.*)", re.IGNORECASE)


class Installer:
    """The commands of uv, or of venv and pip, for an environment based on the interpreter `base`."""

    def __init__(self, uv: str, base: str, environ: Mapping[str, str], prefix: str = "") -> None:
        self._uv, self._base = uv, base
        self.environ = {name: value for name, value in environ.items() if name not in _MISLEADING}
        self.environ.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PYTHONUNBUFFERED="1", NO_COLOR="1")
        self._flags: list[str] = []
        if uv:
            settings = {} if has_own_settings(environ) else pip_settings(environ, prefix)
            self.environ = {**in_uv_words(settings), **self.environ, "UV_NO_PROGRESS": "1"}
            self._flags = ["--no-index"] if settings.get("no-index", "").lower() in ("1", "true", "yes", "on") else []

    def make(self, folder: str, site: bool) -> list[str]:
        """The command that makes an environment with pip in it; with `site`, it sees the base's own packages."""
        seen = ["--system-site-packages"] if site else []
        if self._uv:
            return [self._uv, "venv", "--seed", *self._flags, *seen, "--python", self._base, folder]
        return [self._base, "-m", "venv", *seen, folder]

    def install(self, python: str, *what: str) -> list[str]:
        """The command that installs into the environment of `python`."""
        if self._uv:
            return [self._uv, "pip", "install", *self._flags, "--python", python, *what]
        return [python, "-m", "pip", "install", *what]


def has_own_settings(environ: Mapping[str, str]) -> bool:
    """Whether uv was told where to look for packages."""
    config = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    files = (os.path.join(config, "uv", "uv.toml"), "/etc/uv/uv.toml")
    return any(environ.get(name) for name in _UV_SOURCES) or any(map(os.path.exists, files))


def pip_settings(environ: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    """pip's settings as pip reads them: its files, those of `prefix` last, then PIP_*."""
    home = os.path.expanduser("~")
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    folders = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    files = [os.path.join(folder, "pip", "pip.conf") for folder in reversed(folders)]
    files += ["/etc/pip.conf", os.path.join(home, ".pip", "pip.conf"), os.path.join(config, "pip", "pip.conf")]
    files += [os.path.join(prefix, "pip.conf")] if prefix else []
    named = environ.get("PIP_CONFIG_FILE", "")
    files = [] if named == os.devnull else [*files, named]
    found: dict[str, str] = {}
    for path in filter(None, files):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, OSError, ValueError):
            continue  # pip itself will say so
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update((key.replace("_", "-"), value) for key, value in parser.items(section))
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            found[name[4:].lower().replace("_", "-")] = value
    return found


def in_uv_words(settings: Mapping[str, str]) -> dict[str, str]:
    """pip's settings as variables of uv. They may hold passwords, so they go in no command line."""
    words = {
        "UV_DEFAULT_INDEX": settings.get("index-url", ""),
        "UV_INDEX": " ".join(settings.get("extra-index-url", "").split()),
        "UV_FIND_LINKS": ",".join(settings.get("find-links", "").split()),
        "UV_CONSTRAINT": " ".join(settings.get("constraint", "").split()),
        "UV_INSECURE_HOST": " ".join(settings.get("trusted-host", "").split()),
        "SSL_CERT_FILE": settings.get("cert", ""),
        "ALL_PROXY": settings.get("proxy", ""),
    }
    found = {name: value for name, value in words.items() if value}
    if "UV_INDEX" in found:
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip does: the best of all indexes
    return found


def name_of(requirement: str) -> str:
    """The normalised name of what a requirement wants; "" for an option or a bare URL."""
    found = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?=[\[=<>!~;@(\s]|$)", requirement)
    return normal(found[1]) if found else ""


def fitting_tensorflow(requirements: list[str], host: Mapping[str, Any]) -> list[str]:
    """TensorFlow with the CUDA libraries where there is a GPU of NVIDIA, and the small build where there is none."""
    found = []
    for line in requirements:
        match = _TENSORFLOW.fullmatch(line)
        if match:
            line = ("tensorflow[and-cuda]" if host["driver"] else "tensorflow-cpu") + match[1]
        found.append(line)
    return found


def torch_steps(requirements: list[str], host: Mapping[str, Any], environ: Mapping[str, str]) -> list[list[str]]:
    """What to try to install first, one after the other until one works, so that PyTorch fits the accelerator.

    First what this host's own settings offer, then PyTorch's own index. Empty where the default build is right: from
    a driver for CUDA 13 on. The arguments are for `Installer.install`.
    """
    named = [line for line in requirements if name_of(line) in _TORCH]
    if not named and not any(name_of(line) in _NEED_TORCH for line in requirements):
        return []
    chosen = any("@" in line for line in named) or any(_TORCH_INDEX in line for line in requirements)
    if chosen or "UV_TORCH_BACKEND" in environ:
        return []
    build = _TORCH_BUILDS.get(accelerator(host), "")
    if not build:
        return []
    steps = []
    pins = [_PINNED.fullmatch(line) for line in named]
    if pins and all(pins):
        steps.append(["--no-deps", *(f"{pin[1]}=={pin[2]}+{build}" for pin in pins if pin)])
    steps.append(["--no-deps", "--index-url", _TORCH_INDEX + build, *(named or ["torch"])])
    return steps


def safe(text: str) -> str:
    """A line of output without the names and passwords of its URLs."""
    return re.sub(r"://[^/@\s]+@", "://***@", text)


def checked(lines: list[str]) -> list[str]:
    """Requirements that are one line each. Raises InterpreterUnfit for one that would be something else to pip."""
    for line in lines:
        if not line.strip() or line.lstrip().startswith("-") or len(line.splitlines()) != 1:
            raise InterpreterUnfit(f"{line!r} is no requirement", hint="Write it as for pip: NAME==VERSION")
    return lines


def shown(command: list[str]) -> str:
    """The beginning of a command, for a message."""
    return safe(" ".join(map(shlex.quote, command[:4])))
