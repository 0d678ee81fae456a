"""Which modules a notebook's cells import, and which distributions they come from here. On the user's side.

Nothing is run or imported. What a cell may do without (an import in ``try … except ImportError``) is told apart.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ...agent.installed import normal, packages

#: Cell magics whose body is Python.
_PYTHON_CELLS = re.compile(r"%%(?:capture|debug|lepton_\w+|prun|time|timeit)\b")
_INSTALLS = re.compile(r"^\s*[!%].*\b(?:pip3?|conda|mamba|uv)\b.*\binstall\b", re.MULTILINE)
_STATEMENT = re.compile(r"^\s*(?:import|from)\s+([A-Za-z_][\w.]*)", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_GUARDS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
#: Modules that are not named as their distribution is, for those that are not installed here.
_NAMES = {
    "bs4": "beautifulsoup4", "cv2": "opencv-python", "dateutil": "python-dateutil", "PIL": "pillow",
    "skimage": "scikit-image", "sklearn": "scikit-learn", "yaml": "PyYAML",
}  # fmt: skip
#: The kernel has it by itself, or it is us.
_OURS = {"IPython", "ipykernel", "lepton_jupyter"}


@dataclass(frozen=True)
class Imports:
    """What a piece of code imports, dotted names as they are written."""

    needed: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    installs: bool = False  # it installs packages by itself

    @property
    def all(self) -> frozenset[str]:
        return self.needed | self.optional


def of_code(code: str) -> Imports:
    """The imports of a cell in IPython's syntax. Never raises: what does not parse is searched line by line."""
    if code.lstrip().startswith("%%"):
        first, _, code = code.lstrip().partition("\n")
        if not _PYTHON_CELLS.match(first):
            return Imports()
    python = re.sub(r"^(\s*)[!%?].*$", r"\1pass", code, flags=re.MULTILINE)
    needed: set[str] = set()
    optional: set[str] = set()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(python)
        for name, guarded in _imports(tree.body, False):
            (optional if guarded else needed).add(name)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        needed.update(_STATEMENT.findall(python))
    return Imports(frozenset(needed), frozenset(optional - needed), bool(_INSTALLS.search(code)))


def _imports(body: Iterable[ast.AST], guarded: bool) -> Iterator[tuple[str, bool]]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, guarded) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module and not node.level:
                yield node.module, guarded
        elif isinstance(node, ast.Try):
            may_fail = guarded or any(_catches(handler.type) for handler in node.handlers)
            yield from _imports(node.body, may_fail)
            yield from _imports([*node.handlers, *node.orelse, *node.finalbody], may_fail)
        else:  # a branch that may not be taken may import what is not there
            within = guarded or isinstance(node, ast.If)
            yield from _imports(ast.iter_child_nodes(node), within)


def _catches(kind: ast.expr | None) -> bool:
    names = [kind] if not isinstance(kind, ast.Tuple) else kind.elts
    return kind is None or any(isinstance(name, ast.Name) and name.id in _GUARDS for name in names)


def cells(notebook: Path) -> list[str]:
    """The sources of a notebook's code cells; a ``.py`` is one. [] for what cannot be read."""
    try:
        text = notebook.read_text("utf-8", errors="replace")
    except OSError:
        return []
    if notebook.suffix != ".ipynb":
        return [text]
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return []
    sheets = [document, *_list(_get(document, "worksheets"))]  # worksheets: notebooks before 2015
    found = []
    for cell in (cell for sheet in sheets for cell in _list(_get(sheet, "cells"))):
        source = _get(cell, "source") or _get(cell, "input") or ""
        if _get(cell, "cell_type") == "code":
            found.append("".join(map(str, source)) if isinstance(source, list) else str(source))
    return found


def top(module: str) -> str:
    """The part of a module's name that decides whether it is there."""
    return module.partition(".")[0]


def from_elsewhere(modules: Iterable[str]) -> list[str]:
    """Those that Python does not bring itself, sorted."""
    known = {*sys.stdlib_module_names, *sys.builtin_module_names, *_OURS, "__future__", "__main__"}  # novermin
    return sorted({module for module in modules if module and top(module) not in known})


def is_package(module: str) -> bool:
    """Whether a module comes with a package: one that is installed here, or one that is known by name."""
    return top(module) in _NAMES or bool(distributions(module))


def distributions(module: str) -> list[str]:
    """The distributions here that a module belongs to: one, but for namespaces that several share."""
    state = _state()
    for name in (top(module), _NAMES.get(top(module), "")):  # most are named so: the whole map takes half a second
        if name and normal(name) in _packages(state):
            return [normal(name)]
    found = _by_module(state).get(top(module), [])
    if len(found) > 1 and "." in module:
        path = module.replace(".", "/")
        narrowed = [name for name in found if any(str(file).startswith(path) for file in _files(name))]
        return narrowed or found
    return found


def distribution_name(module: str) -> str:
    """What to install for a module: the distribution it has here, else the one it is known by."""
    found = distributions(module)
    return found[0] if found else _NAMES.get(top(module), top(module))


def needed_by(names: Iterable[str]) -> set[str]:
    """These distributions and all that they bring along, as far as they are installed here."""
    found: set[str] = set()
    left = [normal(name) for name in names]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        try:
            wants = metadata.requires(name) or []
        except (metadata.PackageNotFoundError, ValueError):  # ValueError: the empty name
            continue
        left += [normal(match[0]) for want in wants if "extra ==" not in want and (match := _NAME.match(want))]
    return found


def _state() -> tuple[tuple[str, int], ...]:
    """Changes when something is installed."""
    found = []
    for folder in sys.path:
        try:
            found.append((folder, os.stat(folder or ".").st_mtime_ns))
        except OSError:
            continue
    return tuple(found)


@functools.lru_cache(maxsize=1)
def _packages(state: tuple[tuple[str, int], ...]) -> Mapping[str, str]:
    return packages()


@functools.lru_cache(maxsize=1)
def _by_module(state: tuple[tuple[str, int], ...]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for module, names in metadata.packages_distributions().items():  # novermin
        found[module] = sorted({normal(name) for name in names if name})
    return found


def _files(distribution: str) -> list[Any]:
    try:
        return metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return []


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
