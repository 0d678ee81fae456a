"""Which modules are the user's own, and their files: the near end of `modules`. On the user's side."""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec

from ._collecting import Collected, Collector
from ._digests import Digests
from ._ignore import Rules
from ._packing import merge
from ._tree import Sink, Tree

#: Larger files of a package stay here.
LARGEST = 50 << 20
#: The mode of an entry that says: a cell imports this, and it is not here any more.
GONE = 0

_NEVER = frozenset({"__main__", "lepton_jupyter"})
_COMPILED = tuple(importlib.machinery.EXTENSION_SUFFIXES)


@dataclass(frozen=True)
class Found(Collected):
    """The files of the user's own `modules`; their names are those that ``import`` uses."""

    modules: tuple[str, ...] = field(default=())


def find(
    imports: Iterable[str], near: str | os.PathLike[str], sink: Sink, digests: str | None = None, largest: int = LARGEST
) -> Found:
    """The user's own among the modules named by `imports`, and those that they import in turn, put into `sink`.

    A module is the user's own when it lies neither in the standard library nor in a folder of installed packages: so
    beside the notebook (`near`), anywhere else on sys.path, or installed editable. A package comes whole, with its
    data, less caches and what its ``.leptonignore`` leaves out; larger files than `largest` bytes stay here, and
    `skipped` says so. Of a folder without ``__init__.py`` only Python files come.
    """
    waiting = list(dict.fromkeys(name.partition(".")[0] for name in imports))
    asked = set(waiting)
    tree: Tree = {}
    skipped: list[str] = []
    own: list[str] = []
    packs: dict[str, dict[str, int]] = {}
    sizes: dict[str, int] = {}
    seen = set(_NEVER)
    with Digests(digests) as known:
        while waiting:
            name = waiting.pop()
            if name in seen or not name.isidentifier():
                continue
            seen.add(name)
            spec = _spec(name, os.path.abspath(near))
            if spec is None:
                if name in asked:
                    tree[name] = ("", 0, GONE)
                continue
            places = _places(spec)
            if not places:
                continue
            own.append(name)
            for place in places:
                got = _collect(name, place, spec, sink, known, largest)
                tree.update(got.tree)
                merge(packs, got.packs)
                sizes |= got.sizes
                skipped += got.skipped
                for path in (path for path in got.tree if path.endswith(".py")):
                    waiting += _imported_by(os.path.join(os.path.dirname(place), path))
                skipped += [f"{path} was compiled for this machine" for path in got.tree if path.endswith(_COMPILED)]
    return Found(dict(sorted(tree.items())), tuple(skipped), packs, sizes, modules=tuple(sorted(own)))


def _collect(name: str, place: str, spec: ModuleSpec, sink: Sink, known: Digests, largest: int) -> Collected:
    folder = os.path.dirname(place)
    collector = Collector(folder, sink, known, largest)
    is_folder = os.path.isdir(place)
    rules = Rules.at(place, place, kinds=(".leptonignore",)) if is_folder else Rules()
    suffixes = (".py",) if is_folder and not spec.has_location else ()  # a folder that only is a namespace
    collector.add(place, name if is_folder else os.path.basename(place), rules, suffixes)
    return collector.result()


def _spec(name: str, near: str) -> ModuleSpec | None:
    """Where `name` is imported from, or was; nothing is imported for it."""
    path = importlib.machinery.PathFinder
    loaded: ModuleSpec | None = getattr(sys.modules.get(name), "__spec__", None)
    if loaded is not None and (not loaded.has_location or os.path.exists(str(loaded.origin))):
        return loaded
    try:
        found = path.find_spec(name) if name in sys.modules else importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # a finder of somebody else's
        found = None
    return found or path.find_spec(name, [near])


def _places(spec: ModuleSpec) -> list[str]:
    """The file or folders of a module that is the user's own; none of any other."""
    if spec.submodule_search_locations is not None:
        places = [os.path.abspath(place) for place in spec.submodule_search_locations]
    elif spec.has_location and spec.origin:
        places = [os.path.abspath(spec.origin)]
    else:
        return []
    return [place for place in dict.fromkeys(places) if os.path.exists(place) and is_own(place)]


def is_own(place: str) -> bool:
    """Whether the file or folder of a module is the user's own. A module without one ("") is Python's."""
    if not place:
        return False
    for path in {place, os.path.realpath(place)}:
        if {"site-packages", "dist-packages"} & set(path.split(os.sep)):
            return False
        if any(path.startswith(folder + os.sep) for folder in _standard_library()):
            return False
    return not _is_installation(os.path.dirname(place))


@functools.lru_cache(maxsize=1)
def _standard_library() -> tuple[str, ...]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    return tuple({form for path in paths if path for form in (path, os.path.realpath(path))})


def _is_installation(folder: str) -> bool:
    """Whether packages were installed into this folder (``pip install --target``)."""
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(folder))
    except OSError:
        return False


def _imported_by(path: str) -> tuple[str, ...]:
    try:
        about = os.stat(path)
    except OSError:
        return ()
    return _imports(path, about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=8192)
def _imports(path: str, mtime: int, size: int) -> tuple[str, ...]:
    """The first names of all absolute imports in a file, wherever in it they are."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ()  # the host shows it when it is imported
    names: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(dict.fromkeys(alias.name.partition(".")[0] for alias in node.names))
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names[node.module.partition(".")[0]] = None
    return tuple(names)
