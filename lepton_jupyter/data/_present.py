"""Modules that the host finds by itself just as the notebook has them: beside its cells, or on a disk that both share.

They are left where they are: a copy would have another path, and would not follow what a cell writes into the file.
In the remote kernel.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from importlib.machinery import PathFinder
from typing import Any

from ._tree import FILE, PROGRAM


def left_alone(tree: dict[str, Any], folder: str, known: dict[str, str]) -> dict[str, Any]:
    """`tree` without the modules that are there already, elsewhere than in `folder`, which keeps those that were sent.

    `known` remembers which those were. When one of them has changed since, all go the usual way, so that it and what
    imports it are loaded again.
    """
    parts: dict[str, dict[str, Any]] = {}
    for path, entry in tree.items():
        parts.setdefault(path.partition("/")[0].partition(".")[0], {})[path] = entry
    digests = {
        name: hashlib.sha256(json.dumps(sorted(part.items())).encode()).hexdigest() for name, part in parts.items()
    }
    if any(known.get(name, digest) != digest for name, digest in digests.items()):
        known.update(dict.fromkeys(known, ""))
        return tree
    places = [path for path in sys.path if not os.path.abspath(path).startswith(os.path.abspath(folder) + os.sep)]
    alone = {name for name, part in parts.items() if _is_there(name, part, places)}
    known.update({name: digests[name] for name in alone})
    return {path: entry for name, part in parts.items() if name not in alone for path, entry in part.items()}


def _is_there(name: str, part: dict[str, Any], places: list[str]) -> bool:
    try:
        spec = PathFinder.find_spec(name, places)
    except (ImportError, ValueError):
        return False
    if spec is None or not spec.has_location or not spec.origin:
        return False
    base = os.path.dirname(spec.origin)
    base = os.path.dirname(base) if spec.submodule_search_locations else base
    files = {path: entry for path, entry in part.items() if entry[2] in (FILE, PROGRAM)}
    return bool(files) and all(_same(os.path.join(base, path), *entry[:2]) for path, entry in files.items())


def _same(path: str, digest: str, size: int) -> bool:
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size == size and hashlib.sha256(file.read()).hexdigest() == digest
    except OSError:
        return False
