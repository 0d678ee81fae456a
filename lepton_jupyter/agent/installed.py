"""What one Python has installed, without importing any of it.

Runs in three places, so it imports nothing of ours: in the agent, whose interpreter is the kernel's; in another
interpreter of the host, as a script that reads its questions from stdin (see `facts.facts`); in the notebook's kernel.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

#: A distribution's folder on the path: numpy-2.1.0.dist-info, PyYAML-6.0-py3.11.egg-info.
_INFO = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(?:-py\d[\d.]*)?\.(?:dist|egg)-info")
#: The lines of torch/version.py that say what it was built for.
_TORCH = re.compile(r"^(__version__|cuda|hip)\b[^=\n]*= *(.+)$", re.MULTILINE)
#: The entries of TensorFlow's build_info.py.
_TENSORFLOW = re.compile(r"""["'](is_cuda_build|is_rocm_build|cuda_version)["'], ?(True|False|["'][\d.]+["'])""")


def look(modules: Iterable[str] = ()) -> dict[str, Any]:
    """Python, its packages (normalised name: version), which of `modules` it has, what frameworks were built for."""
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.system(),
        "machine": platform.machine(),
        "libc": _libc(),
        "packages": packages(),
        "modules": {name: has(name) for name in modules},
        "torch": torch(),
        "tensorflow": tensorflow(),
        "venv": has("venv") and has("ensurepip"),
    }


def packages() -> dict[str, str]:
    """The version of each distribution on the path, by normalised name."""
    found: dict[str, str] = {}
    for folder in sys.path:
        for name in _entries(folder or "."):
            match = _INFO.fullmatch(name)
            if match:
                found.setdefault(normal(match["name"]), match["version"])
    return found


def normal(name: str) -> str:
    """A distribution's name in the one way to write it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def has(module: str) -> bool:
    """Whether a top-level module could be imported. It isn't."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # ValueError: it is loaded and says not from where
        return module in sys.modules


def torch() -> dict[str, str]:
    """PyTorch's version and the CUDA or HIP it was built for; {} when it is not there."""
    said = dict(_TORCH.findall(_text("torch", "version.py")))
    return {key.strip("_"): value for key, text in said.items() if isinstance(value := _literal(text), str)}


def tensorflow() -> dict[str, str]:
    """TensorFlow's version and the CUDA it was built for ("" when it doesn't say); {} when it is not there."""
    said = {key: _literal(value) for key, value in _TENSORFLOW.findall(_text("tensorflow", *_BUILD_INFO))}
    if not said:
        return {}
    have = packages()
    names = ("tensorflow", "tensorflow-cpu", "tensorflow-rocm", "tf-nightly")
    found = {"version": next((have[name] for name in names if name in have), "")}
    if said.get("is_cuda_build"):
        found["cuda"] = str(said.get("cuda_version", ""))
    if said.get("is_rocm_build"):
        found["hip"] = "yes"
    return found


_BUILD_INFO = ("python", "platform", "build_info.py")


def unmet(requirements: Iterable[str]) -> str:
    """The first requirement that this Python does not meet for certain; "" when it meets all."""
    parse = _parser()
    have = packages()
    for text in requirements:
        try:
            wanted = parse(text) if parse else None
        except ValueError:
            wanted = None
        if wanted is None or wanted.url or wanted.extras:  # not to be told from names and versions
            return text
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        version = have.get(normal(wanted.name))
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            return text
    return ""


def _parser() -> Any:
    for place in ("packaging.requirements", "pip._vendor.packaging.requirements"):
        try:
            return importlib.import_module(place).Requirement
        except ImportError:
            continue
    return None


def _text(package: str, *path: str) -> str:
    """A file of a package, unless that is nowhere to be found."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return ""
    for folder in (spec.submodule_search_locations or []) if spec else []:
        try:
            with open(os.path.join(folder, *path), encoding="utf-8", errors="replace") as file:
                return file.read(1 << 16)
        except OSError:
            continue
    return ""


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return None


def _entries(folder: str) -> Iterator[str]:
    try:
        yield from os.listdir(folder)
    except OSError:
        pass  # a zip, or a folder that is gone


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return ""  # not glibc


def main() -> None:
    """Read ``{"modules": […], "requirements": […]}`` from stdin, print what is found as the last line."""
    sys.path[:] = [folder for folder in sys.path if folder]  # not the folder we happen to be in
    asked = json.load(sys.stdin)
    found = look(asked["modules"])
    found["unmet"] = unmet(asked["requirements"])
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
