"""Files travel by content, as a tree of paths and digests.

`collect` runs on the user's side; `place`, `state` and `changed` on the host; `deliver` writes on the user's side what
came back from a host. Trees are JSON. A tree from the other end is checked as a whole before anything is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import LeptonError, WireError
from ._collecting import Collected, collect
from ._contents import Contents
from ._packing import merge
from ._placing import Folder
from ._tree import FILE, FOLDER, LINK, OURS, PROGRAM, Sink, Source, Tree, checked, clash, no_room, parents, shown

__all__ = [
    "FILE", "Changed", "Collected", "Placed", "Sink", "Source", "State", "Tree",
    "changed", "collect", "deliver", "merge", "place", "state",
]  # fmt: skip

#: Path → (inode, time of change in ns, size) of every file in a folder.
State = dict[str, list[int]]
_PLACED = f"{OURS}placed"
#: Folders whose files are by-products.
_NOISE = frozenset({".git", ".ipynb_checkpoints", "__pycache__"})
MOST_CHANGED = 1000
MOST_CHANGED_BYTES = 4 << 30


@dataclass(frozen=True)
class Placed:
    """What `place` did: paths written and removed. All others were there already."""

    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def place(tree: Any, blobs: Source, folder: str, packs: Any = None) -> Placed:
    """Bring `folder` to what `tree` tells; made when absent, for this user alone. `packs` is that of `Collected`.

    A file that was placed before from the same content stays as it is, also when a cell has changed it since. Files
    that were placed before and are no longer in a folder that the tree has as a whole are removed, unless they were
    changed. Each file appears whole or not at all. Raises, before anything is written, WireError for a tree that is not
    safe, LeptonError when the disk is full, names clash or a content is missing; later, when something is in the way.
    """
    entries, contents = checked(tree), Contents(blobs, packs)
    with Folder(folder) as there:
        known = _read_placed(there)
        new = {path: entry for path, entry in entries.items() if not _is_there(there, path, entry, known)}
        _check(there, entries, new, contents)
        whole = [path for path, entry in entries.items() if entry[2] == FOLDER]
        gone = [
            path for path in known if any(_is_below(path, top) for top in whole) and not _is_in(path, entries, known)
        ]
        removed = [path for path in gone if known[path][1] == _mark(there.stat(path))]
        for path in removed:
            there.remove(path)
        try:
            for path, entry in sorted(new.items()):
                there.put(path, entry, contents)
                known[path] = [list(entry), _mark(there.stat(path))]
        finally:  # also of a part: the rest is written the next time
            if new or gone:
                kept = {path: about for path, about in known.items() if path not in gone}
                there.data(_PLACED, json.dumps(kept).encode())
    return Placed(tuple(path for path, entry in new.items() if entry[2] != FOLDER), tuple(removed))


def deliver(tree: Any, blobs: Source, folder: str) -> tuple[str, ...]:
    """Write what came from a host into the user's `folder`; the paths that were written.

    A file that is there with the same content is left alone. Raises LeptonError, before anything is written, when
    another one is there by that name, when names clash or the disk is full; WireError for a tree that is not safe.
    """
    entries, contents = checked(tree), Contents(blobs)
    with Folder(folder, private=False) as there:
        new = {path: entry for path, entry in entries.items() if not _same_content(there, path, entry)}
        taken = [path for path in new if there.stat(path) is not None]
        if taken:
            raise LeptonError(
                f"{there.path} has other files by these names: {_some(taken)}; nothing was written",
                hint="Move them away, or fetch into another folder.",
            )
        _check(there, entries, new, contents)
        for path, entry in sorted(new.items()):
            there.put(path, entry, contents, replace=False)
    return tuple(path for path, entry in new.items() if entry[2] != FOLDER)


def state(folder: str) -> State:
    """What files `folder` has, without reading them; links are not followed."""
    return {path: [about.st_ino, about.st_mtime_ns, about.st_size] for path, about in _walk(folder)}


@dataclass(frozen=True)
class Changed:
    """Files that are new or changed, by path; `notes` says what was left out. Iterates over the paths."""

    paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)


def changed(folder: str, before: State, most: int = MOST_CHANGED, most_bytes: int = MOST_CHANGED_BYTES) -> Changed:
    """The files that were written in `folder` since `before`, the result of `state`; small ones first.

    At most so many, and at most so many bytes together; what is beyond is told in `notes`.
    """
    news = [
        (about.st_size, path)
        for path, about in _walk(folder)
        if list(before.get(path, ())) != [about.st_ino, about.st_mtime_ns, about.st_size]
    ]
    paths: list[str] = []
    left: list[str] = []
    total = 0
    for size, path in sorted(news):
        if len(paths) < most and total + size <= most_bytes:
            paths.append(path)
            total += size
        else:
            left.append(path)
    limits = f"more than {most:,} files or {most_bytes / (1 << 30):g} GiB do not come back by themselves"
    note = f"{len(left):,} written files stay on the host ({_some(left)}): {limits}; lepton.artifact(path) keeps one"
    return Changed(tuple(sorted(paths)), (note,) if left else ())


def _walk(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        with contextlib.suppress(OSError):  # removed in the meantime, or not for us
            with os.scandir(os.path.join(folder, inside)) as entries:
                for entry in entries:
                    path = f"{inside}/{entry.name}" if inside else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting += [] if entry.name in _NOISE else [path]
                    elif entry.is_file(follow_symlinks=False) and not entry.name.startswith(OURS):
                        with contextlib.suppress(FileNotFoundError):
                            yield path, entry.stat(follow_symlinks=False)


def _check(there: Folder, entries: Tree, new: Tree, contents: Contents) -> None:
    """What can go wrong is found before anything is written."""
    for path, (digest, size, mode) in new.items():
        if mode not in (FOLDER, LINK):
            contents.check(path, digest, size)
    need = sum(size for _, size, _ in new.values())
    if need > there.free:
        raise no_room(there.path, need)
    names = clash(entries)
    if names and there.case_blind:
        raise LeptonError(
            f"{shown(names[0])} and {shown(names[1])} are one name on the disk of {there.path}; nothing was written",
            hint="Rename one of them, or use a folder on a disk where case counts.",
        )


def _is_there(there: Folder, path: str, entry: tuple[str, int, int], known: dict[str, Any]) -> bool:
    found = there.stat(path)
    if found is None:
        return False
    if entry[2] == FOLDER:
        return stat.S_ISDIR(found.st_mode)
    of_kind = stat.S_ISLNK if entry[2] == LINK else stat.S_ISREG
    return path in known and known[path][0] == list(entry) and of_kind(found.st_mode)


def _same_content(there: Folder, path: str, entry: tuple[str, int, int]) -> bool:
    """Whether what `entry` tells is there already, by whomever."""
    found = there.stat(path)
    if found is None or entry[2] == LINK:
        return False
    if entry[2] == FOLDER or not stat.S_ISREG(found.st_mode) or found.st_size != entry[1]:
        return entry[2] == FOLDER and stat.S_ISDIR(found.st_mode)
    with contextlib.suppress(OSError):
        with os.fdopen(there.open(path), "rb") as file:
            digest = hashlib.sha256()
            for data in iter(lambda: file.read(1 << 20), b""):
                digest.update(data)
        return digest.hexdigest() == entry[0] and bool(found.st_mode & 0o100) == (entry[2] == PROGRAM)
    return False


def _read_placed(there: Folder) -> dict[str, Any]:
    """What was placed here before: path → [entry, what the file looked like then]."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, WireError):
        with os.fdopen(there.open(_PLACED), "rb") as file:
            known = {path: [entry, mark] for path, (entry, mark) in json.load(file).items()}
        checked({path: entry for path, (entry, _) in known.items()})  # a cell can write here, too
        return known
    return {}


def _mark(found: os.stat_result | None) -> list[int] | None:
    return None if found is None else [found.st_ino, found.st_mtime_ns, found.st_size]


def _is_in(path: str, entries: Tree, known: dict[str, Any]) -> bool:
    """Whether the tree still has what was placed at `path`, and not a folder by the name of a file."""
    return path in entries and (entries[path][2] == FOLDER) == (known[path][0][2] == FOLDER)


def _is_below(path: str, top: str) -> bool:
    return top == "." or top in parents(path)


def _some(paths: list[str]) -> str:
    return ", ".join(map(shown, paths[:3])) + (", …" if len(paths) > 3 else "")
