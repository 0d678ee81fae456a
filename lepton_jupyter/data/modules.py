"""The user's own modules travel by content and are loaded again when they change.

`find` runs on the user's side; `install` and `activate` in the remote kernel. Each module or package lies in a folder
named by its digest, ``FOLDER/DIGEST/NAME…``, which all kernels of the host share and none changes. Those in use are
first on sys.path.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from ..errors import WireError
from ._contents import Contents
from ._own_modules import GONE, Found, find
from ._placing import Folder
from ._present import left_alone
from ._reloading import Reload
from ._tree import Source, Tree, checked

__all__ = ["Found", "activate", "find", "install", "left_alone"]

#: A version that no kernel has activated for so many seconds is removed.
KEEP = 30 * 24 * 3600.0


def install(tree: Any, blobs: Source, folder: str, packs: Any = None) -> dict[str, str]:
    """Put the modules of `tree` into `folder`, each under its digest; name → its folder, "" for one that is gone.

    `packs` is that of `Found`. What is there is not written again. A module appears whole or not at all. Raises
    WireError for a tree that is not safe, LeptonError when the disk is full.
    """
    parts: dict[str, Tree] = {}
    gone = []
    if not isinstance(tree, Mapping):
        raise WireError("a set of modules has the wrong form")
    for name, entry in tree.items():
        if isinstance(name, str) and list(entry if isinstance(entry, (list, tuple)) else ()) == ["", 0, GONE]:
            gone.append(name)
    for path, entry in checked({path: entry for path, entry in tree.items() if path not in gone}).items():
        parts.setdefault(path.partition("/")[0].partition(".")[0], {})[path] = entry
    contents = Contents(blobs, packs)
    folders = {name: _install(part, contents, folder) for name, part in parts.items()}
    _prune(folder)
    return {**folders, **{name: "" for name in gone if name not in folders}}


def activate(folders: Mapping[str, str], namespace: MutableMapping[str, Any] | None = None) -> list[str]:
    """Make the modules of `install` the ones that ``import`` finds; the names of modules that were loaded again.

    Loaded modules whose source has changed are loaded again, and so are those of the user's own that import them, after
    what they import; others stay the objects they are. What was deleted is no longer there. Functions and classes that
    `namespace` got by ``from module import name`` are refreshed. A module that fails is unloaded, so that the import
    that needs it shows the user's own error.
    """
    roots = {os.path.dirname(folder) for folder in folders.values() if folder}
    roots |= {os.path.dirname(path) for path in sys.path if _top(path)}
    reload = Reload()
    for name, folder in folders.items():
        old = [path for path in sys.path if os.path.dirname(path) in roots and _top(path) == name]
        if folder:
            with contextlib.suppress(OSError):
                os.utime(folder)
        if old != [folder]:
            sys.path[:] = [*([folder] if folder else []), *(path for path in sys.path if path not in old)]
            reload.moved(name, old[0] if old else "", folder)
    importlib.invalidate_caches()
    active = [path for path in sys.path if os.path.dirname(path) in roots and _top(path)]
    return reload.run(active, namespace if namespace is not None else {})


def _install(part: Tree, contents: Contents, folder: str) -> str:
    digest = hashlib.sha256(json.dumps(sorted(part.items())).encode()).hexdigest()
    path = os.path.join(os.path.abspath(folder), digest)
    if os.path.isdir(path):
        return path
    made = os.path.join(os.path.abspath(folder), f".new-{secrets.token_hex(8)}")
    try:
        with Folder(made) as there:
            for name, entry in sorted(part.items()):
                there.put(name, entry, contents)
        os.rename(made, path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    finally:  # somebody else was first, or it failed
        shutil.rmtree(made, ignore_errors=True)
    return path


def _top(path: str) -> str:
    """The name of the module in a folder of ours; "" for any other folder."""
    if len(os.path.basename(path)) != 64:
        return ""
    with contextlib.suppress(OSError):
        return next((name.partition(".")[0] for name in os.listdir(path) if name != "__pycache__"), "")
    return ""


def _prune(folder: str) -> None:
    for path in _versions(folder):
        with contextlib.suppress(OSError):
            if path not in sys.path and os.stat(path).st_mtime < time.time() - KEEP:
                shutil.rmtree(path, ignore_errors=True)


def _versions(folder: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield from (os.path.join(os.path.abspath(folder), name) for name in os.listdir(folder))
