"""Loaded modules follow their source: the far end of `modules`. In the remote kernel."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Iterator, MutableMapping
from typing import Any


class Reload:
    """Collects which modules moved to another folder, then loads again what has to be."""

    def __init__(self) -> None:
        self._stale: set[str] = set()

    def moved(self, top: str, old: str, new: str) -> None:
        """The module `top` lies in the folder `new` now ("" when it is gone), and lay in `old` ("" for nowhere)."""
        for name in [name for name in list(sys.modules) if name == top or name.startswith(f"{top}.")]:
            file = _file(sys.modules[name])
            if not old or not file.startswith(old + os.sep):
                if new:
                    del sys.modules[name]  # another module of that name, which ours hides from now on
                continue
            inside = os.path.relpath(file, old)
            if not new or not os.path.exists(os.path.join(new, inside)):
                _unload(name)
                self._stale.add(name)
                continue
            if _content(file) != _content(os.path.join(new, inside)):
                self._stale.add(name)
            _move(sys.modules[name], old, new)

    def run(self, folders: list[str], namespace: MutableMapping[str, Any]) -> list[str]:
        """Load again what changed and what imports it, among the modules in `folders`; their names, in that order."""
        if not self._stale:
            return []
        own = {name: _file(module) for name, module in list(sys.modules.items())}
        own = {name: file for name, file in own.items() if any(file.startswith(path + os.sep) for path in folders)}
        needs = {name: set(_needed(name, file)) for name, file in own.items()}
        again = set(self._stale)
        while True:
            more = {name for name, needed in needs.items() if needed & again} - again
            if not more:
                break
            again |= more
        order = [name for name in _in_order(needs) if name in again and name in sys.modules]
        before: dict[int, tuple[Any, str, str]] = {}
        for count, name in enumerate(order):
            old = dict(vars(sys.modules[name]))
            for key, value in old.items():
                if getattr(value, "__module__", None) == name:
                    before[id(value)] = value, name, key
            try:
                _load_again(sys.modules[name])
            except BaseException as error:
                for rest in order[count:]:
                    _unload(rest)
                order = order[:count]
                if isinstance(error, KeyboardInterrupt):
                    raise
                break
        for name, value in list(namespace.items()):
            known, module, key = before.get(id(value), (None, "", ""))
            if known is value and value is not None and key in vars(sys.modules.get(module, types)):
                namespace[name] = vars(sys.modules[module])[key]
        return order


def _file(module: Any) -> str:
    """The file of a module, or of a folder without code the folder itself with a separator."""
    spec = getattr(module, "__spec__", None)
    file = getattr(module, "__file__", None) or getattr(spec, "origin", None)
    if not file:
        for path in getattr(module, "__path__", ()):
            return os.path.join(str(path), "")
    return str(file or "")


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _move(module: types.ModuleType, old: str, new: str) -> None:
    """Let an unchanged module find its data and its submodules in the new folder."""

    def moved(path: Any) -> Any:
        return new + path[len(old) :] if isinstance(path, str) and path.startswith(old + os.sep) else path

    spec = module.__spec__
    for thing, names in (
        (module, ("__file__", "__cached__")),
        (spec, ("origin", "cached")),
        (spec and spec.loader, ("path",)),
    ):
        for name in names:
            if isinstance(getattr(thing, name, None), str):
                setattr(thing, name, moved(getattr(thing, name)))
    if getattr(module, "__path__", None) is not None:
        module.__path__ = [moved(path) for path in module.__path__]
        if spec is not None:
            spec.submodule_search_locations = module.__path__


def _unload(name: str) -> None:
    module = sys.modules.pop(name, None)
    parent, _, own = name.rpartition(".")
    if module is not None and vars(sys.modules.get(parent, types)).get(own) is module:
        delattr(sys.modules[parent], own)


def _load_again(module: types.ModuleType) -> None:
    """Run its source anew in the same module, so that all who have it see it; what the source no longer has is gone."""
    for key, value in list(vars(module).items()):
        is_submodule = isinstance(value, types.ModuleType) and sys.modules.get(f"{module.__name__}.{key}") is value
        if not (key.startswith("__") and key.endswith("__")) and not is_submodule:
            del vars(module)[key]
    importlib.reload(module)


def _needed(name: str, file: str) -> Iterator[str]:
    """The modules that a file imports, by full name; also candidates that are no modules."""
    try:
        tree = ast.parse(_content(file)) if file.endswith(".py") else ast.Module([], [])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    package = name if os.path.basename(file) == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield from _with_parents(base)
            for alias in node.names:
                yield f"{base}.{alias.name}"


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _in_order(needs: dict[str, set[str]]) -> list[str]:
    """Each module after those that it imports; within a circle in any order."""
    order: dict[str, None] = {}
    entered: set[str] = set()
    for start in sorted(needs):
        stack = [(start, iter(sorted(needs[start])))]
        while stack:
            name, rest = stack[-1]
            entered.add(name)
            need = next((need for need in rest if need in needs and need not in entered), None)
            if need is None:
                order[name] = None
                stack.pop()
            else:
                stack.append((need, iter(sorted(needs[need]))))
    return list(order)
