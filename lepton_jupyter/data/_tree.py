"""What a set of files looks like as data, and which sets are refused. Runs on both ends."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from ..errors import LeptonError, WireError

#: What the mode of an entry may be: a plain file, a program, a link, a folder.
FILE, PROGRAM, LINK, FOLDER = 0o100644, 0o100755, 0o120000, 0o040000
#: Path from the set's root, with "/" -> (SHA-256, size in bytes, mode). A link has its target for a digest, a folder
#: nothing: it says that the set has all of that folder. "." is the root. JSON makes lists of the tuples.
Tree = dict[str, tuple[str, int, int]]

MOST_FILES = 1_000_000
#: Our own files in a folder start with this; a set has none of them.
OURS = ".lepton-"

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Sink(Protocol):
    """Where the contents of files are put; a BlobStore is one."""

    def put(self, data: bytes) -> str: ...
    def put_file(self, path: str) -> str: ...
    def has(self, digest: str) -> bool: ...
    def size(self, digest: str) -> int: ...
    def read(self, digest: str, offset: int, length: int) -> bytes: ...
    def touch(self, digest: str) -> bool: ...


class Source(Protocol):
    """Where the contents of files come from; a BlobStore is one."""

    def path(self, digest: str) -> str: ...


def shown(path: str) -> str:
    """A name from elsewhere, fit for a terminal: no control characters, not longer than a line."""
    text = ascii(path)
    return text if len(text) <= 120 else f"{text[:110]}…{text[-8:]}"


def checked(tree: Any) -> Tree:
    """`tree` with every entry checked. Raises WireError, naming it, for one that could write outside its folder.

    Refused are absolute paths and ``..``, names that no file system takes, links that leave the folder, what is neither
    a file nor a link nor a folder, and paths that lead through a file or a link of the same set.
    """
    if not isinstance(tree, Mapping) or len(tree) > MOST_FILES:
        raise WireError("a set of files has the wrong form or too many of them; nothing was written")
    entries: Tree = {}
    for path, entry in tree.items():
        wrong = _wrong_path(path) or _wrong_entry(entry) or _wrong_link(path, entry)
        if wrong:
            raise WireError(f"a file named {shown(str(path))} was refused: {wrong}; nothing was written")
        entries[path] = (entry[0], entry[1], entry[2])
    leaves = {path for path, entry in entries.items() if entry[2] != FOLDER}
    for path in entries:
        for parent in parents(path):
            if parent in leaves:
                raise WireError(f"{shown(path)} was refused: {shown(parent)} is no folder; nothing was written")
    return entries


def parents(path: str) -> Iterable[str]:
    """The folders above `path`, the outermost first."""
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def clash(entries: Mapping[str, Any]) -> tuple[str, str] | None:
    """Two names that are one where case does not count, if there are such."""
    known: dict[str, tuple[str, bool]] = {}
    for path, entry in entries.items():
        for place, is_folder in [(path, entry[2] == FOLDER), *((parent, True) for parent in parents(path))]:
            key = unicodedata.normalize("NFC", place).casefold()
            other, was_folder = known.setdefault(key, (place, is_folder))
            if other != place and not (is_folder and was_folder):
                return other, place
    return None


def _wrong_path(path: Any) -> str:
    if not isinstance(path, str) or not path:
        return "it has no name"
    if path == ".":
        return ""
    try:
        parts = [os.fsencode(part) for part in path.split("/")]
    except UnicodeEncodeError:
        return "its name cannot be written"
    if path.startswith("/"):
        return "its path is absolute"
    if any(part in (b"", b".", b"..") for part in parts):
        return "its path leads elsewhere"
    if b"\0" in b"".join(parts):
        return "its name has a NUL"
    if max(map(len, parts)) > 255 or sum(map(len, parts)) + len(parts) > 4096:
        return "its name is too long"
    if any(part.startswith(OURS.encode()) for part in parts):
        return f"names that start with {OURS} are ours"
    return ""


def _wrong_entry(entry: Any) -> str:
    if not isinstance(entry, (list, tuple)) or len(entry) != 3:
        return "it has the wrong form"
    digest, size, mode = entry
    if not isinstance(digest, str) or type(size) is not int or type(mode) is not int or size < 0:
        return "it has the wrong form"
    if mode not in (FILE, PROGRAM, LINK, FOLDER):
        return "it is neither a file nor a link nor a folder, or has special permissions"
    if mode in (FILE, PROGRAM) and not _DIGEST.fullmatch(digest):
        return "its content has no digest"
    return "" if mode in (FILE, PROGRAM) or (size == 0 and (mode == LINK or not digest)) else "it has the wrong form"


def _wrong_link(path: str, entry: Any) -> str:
    if path == "." and entry[2] != FOLDER:
        return "it would replace the folder itself"
    return "" if entry[2] != LINK or link_stays(path, entry[0]) else "it is a link that leaves the folder"


def link_stays(path: str, target: str) -> bool:
    """Whether a link at `path` cannot lead out of the root: it goes up first, no further than the root, then only down.

    A target like ``a/..`` is refused too: `a` may be a link itself.
    """
    try:
        os.fsencode(target)
    except UnicodeEncodeError:
        return False
    parts = target.split("/")
    up = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    return up <= path.count("/") and not any(part in ("", ".", "..") for part in parts[up:]) and "\0" not in target


def is_case_blind(fd: int) -> bool:
    """Whether the file system of an open folder takes "A" and "a" for one name."""
    probe = f"{OURS}case-{os.getpid()}-{os.urandom(4).hex()}"
    os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=fd))
    try:
        os.stat(probe.upper(), dir_fd=fd)
    except FileNotFoundError:
        return False
    finally:
        os.unlink(probe, dir_fd=fd)
    return True


def no_room(folder: str, need: int = 1) -> LeptonError:
    return LeptonError(
        f"the disk of {folder} has no room for {f'{need:,} bytes' if need > 1 else 'more'}; no file is half written",
        hint="Make room there, or name another folder, then try again.",
    )
