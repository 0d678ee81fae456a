"""Files and folders of the user's become a tree of contents: the near end of ``--files``. On the user's side."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field

from ..errors import ConfigError
from ._digests import Digests
from ._ignore import Rules
from ._packing import FEWEST, SMALL, Packs
from ._tree import FILE, FOLDER, LINK, PROGRAM, Sink, Tree, link_stays, parents, shown

_TRIES = 3


@dataclass(frozen=True)
class Collected:
    """A tree whose contents are in the store; `skipped` says what was left out and why.

    `packs` tells of contents that are no blobs of their own in which pack each lies, and where; `sizes` are the packs'.
    """

    tree: Tree = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    packs: dict[str, dict[str, int]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def blobs(self) -> dict[str, int]:
        """What has to be where the tree is placed: digest → size."""
        packed = {digest for places in self.packs.values() for digest in places}
        files = {digest: size for digest, size, mode in self.tree.values() if mode in (FILE, PROGRAM)}
        return {**self.sizes, **{digest: size for digest, size in files.items() if digest not in packed}}

    @property
    def size(self) -> int:
        """Bytes in all files together."""
        return sum(size for _, size, _ in self.tree.values())

    @property
    def count(self) -> int:
        """How many files and links."""
        return sum(mode != FOLDER for _, _, mode in self.tree.values())


class Collector:
    """Takes in files one root after the other."""

    def __init__(self, base: str, sink: Sink, digests: Digests, largest: int | None = None) -> None:
        self._base = os.path.abspath(base)
        self._sink, self._digests, self._largest = sink, digests, largest
        self._tree: Tree = {}
        self._from: dict[str, str] = {}
        self._links: list[tuple[str, str]] = []
        self._small: list[tuple[str, str, os.stat_result]] = []
        self._packs = Packs(sink, digests)
        self._skipped: list[str] = []

    def add(self, path: str, name: str, rules: Rules, suffixes: tuple[str, ...] = ()) -> None:
        """Take in the file or folder at `path` as `name`; of a folder, only files with `suffixes` if any are given.

        What is named is followed when it is a link: so the user meant it.
        """
        try:
            about = os.stat(path)
        except OSError as error:
            raise ConfigError(f"{shown(path)} cannot be read: {error.strerror}") from error
        if stat.S_ISDIR(about.st_mode):
            self._folder(path, name, rules, suffixes)
        elif stat.S_ISREG(about.st_mode):
            self._file(path, name, about)
        else:
            raise ConfigError(f"{shown(path)} is neither a file nor a folder")

    def result(self) -> Collected:
        """What was taken in. Raises ConfigError for a link that leads out of what the user named."""
        self._settle()
        while self._links:
            links, self._links = self._links, []
            known = {*self._tree, *(parent for name in self._tree for parent in parents(name))}
            for path, name in links:
                self._link(path, name, known)
            self._settle()
        packs, sizes = self._packs.result()
        return Collected(dict(sorted(self._tree.items())), tuple(self._skipped), packs=packs, sizes=sizes)

    def _folder(self, path: str, name: str, rules: Rules, suffixes: tuple[str, ...] = ()) -> None:
        waiting = [(path, name, rules)]
        while waiting:
            path, name, rules = waiting.pop()
            if not suffixes:
                self._keep(name, ("", 0, FOLDER), path)
            try:
                entries = sorted(os.scandir(path), key=lambda entry: entry.name)
            except OSError as error:
                raise ConfigError(
                    f"the folder {shown(path)} cannot be read: {error.strerror}", hint="Leave it out by .leptonignore."
                ) from error
            for entry in entries:
                inner = entry.name if name == "." else f"{name}/{entry.name}"
                is_folder = entry.is_dir(follow_symlinks=False)
                if rules.ignore(entry.path, is_folder):
                    continue
                if is_folder:
                    waiting.append((entry.path, inner, rules.within(entry.path)))
                elif suffixes and not entry.name.endswith(suffixes):
                    continue
                elif entry.is_symlink():
                    self._links.append((entry.path, inner))
                elif entry.is_file(follow_symlinks=False):
                    self._file(entry.path, inner, entry.stat(follow_symlinks=False))
                else:
                    self._skipped.append(f"{shown(inner)} is neither a file nor a folder")

    def _file(self, path: str, name: str, about: os.stat_result) -> None:
        if self._largest is not None and about.st_size > self._largest:
            self._skipped.append(f"{shown(name)} is larger ({about.st_size:,} bytes) than {self._largest:,} bytes")
            return
        digest = self._digests.get(path, about)
        if digest is not None and (self._packs.find(digest, about.st_size) or self._sink.has(digest)):
            self._keep(name, _entry(digest, about.st_size, about), path)
        elif about.st_size <= SMALL:
            self._small.append((path, name, about))
        else:
            self._read(path, name, about, self._sink.put_file)

    def _settle(self) -> None:
        """Take in the small files that are not known; many of them are packed."""
        small, self._small = self._small, []
        take = self._packed if len(small) >= FEWEST else self._sink.put_file
        for path, name, about in small:
            self._read(path, name, about, take)

    def _packed(self, path: str) -> str:
        with open(path, "rb", buffering=0) as file:
            data = file.read(SMALL + 1)
        return self._packs.add(data) if len(data) <= SMALL else self._sink.put_file(path)

    def _read(self, path: str, name: str, about: os.stat_result, take: Callable[[str], str]) -> None:
        try:
            for _ in range(_TRIES):
                before, digest = about, take(path)
                about = os.stat(path)
                if (before.st_mtime_ns, before.st_size) == (about.st_mtime_ns, about.st_size):
                    self._digests.keep(path, about, digest)
                    break
            else:
                self._skipped.append(f"{shown(name)} was being written: it went as it was at one moment")
            size = self._packs.size(digest)
        except FileNotFoundError:
            self._skipped.append(f"{shown(name)} was removed in the meantime")
            return
        except PermissionError as error:
            raise ConfigError(f"{shown(path)} cannot be read", hint="Leave it out by .leptonignore.") from error
        self._keep(name, _entry(digest, size, about), path)

    def _link(self, path: str, name: str, known: set[str]) -> None:
        """A link stays one if what it leads to comes along; else its content comes if that lies inside the base."""
        target, real = os.readlink(path), os.path.realpath(path)
        leads_to = os.path.normpath(os.path.join(os.path.dirname(name), target)) if link_stays(name, target) else ""
        if leads_to in known:
            self._keep(name, (target, 0, LINK), path)
        elif not os.path.exists(real):
            self._skipped.append(f"{shown(name)} is a link to {shown(target)}, which does not exist")
        elif not _is_inside(real, os.path.realpath(self._base)):
            raise ConfigError(
                f"{shown(name)} is a link that leads out of {shown(self._base)}: to {shown(real)}",
                hint="Name it by itself (--files) to send what it leads to, or leave it out by .leptonignore.",
            )
        elif os.path.isfile(real):
            self._file(path, name, os.stat(real))
        elif _is_inside(os.path.realpath(os.path.dirname(path)), real):
            self._skipped.append(f"{shown(name)} is a link to a folder that it lies in")
        else:
            self._folder(path, name, Rules.at(real, self._base))

    def _keep(self, name: str, entry: tuple[str, int, int], path: str) -> None:
        if name in self._tree and self._tree[name] != entry:
            raise ConfigError(
                f"{shown(self._from[name])} and {shown(path)} would both be {shown(name)}",
                hint="Files outside the notebook's folder arrive by their own name. Rename one, or send one of them.",
            )
        self._tree[name], self._from[name] = entry, path


def _entry(digest: str, size: int, about: os.stat_result) -> tuple[str, int, int]:
    return digest, size, PROGRAM if about.st_mode & 0o100 else FILE


def collect(paths: Iterable[str], base: str, sink: Sink, digests: str | None = None) -> Collected:
    """The files that ``--files`` names, with their contents put into `sink`.

    `paths` are files, folders or patterns (``data/*.csv``, ``**``), relative to the folder `base`. A folder comes
    whole, less what ``.gitignore``, ``.leptonignore`` and the default list leave out; what is named always comes.
    Paths inside `base` keep their place, others arrive by their own name. `digests` names a database that remembers
    what was read. Raises ConfigError, with what to do, for a name that matches nothing, for what cannot be read, and
    for links in folders that lead out of `base`.
    """
    base = os.path.abspath(base)
    with ExitStack() as stack:
        known = stack.enter_context(Digests(digests))
        collector = Collector(base, sink, known)
        for asked in paths:
            for path in _matching(asked, base):
                inside = _is_inside(path, base)
                name = os.path.relpath(path, base) if inside else os.path.basename(path)
                collector.add(path, name, Rules.at(path, base) if os.path.isdir(path) else Rules())
        return collector.result()


def _matching(asked: str, base: str) -> list[str]:
    path = os.path.normpath(os.path.join(base, os.path.expanduser(asked)))
    if os.path.lexists(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []
    if not found:
        kind = "no file matches" if glob.has_magic(path) else "there is no file or folder"
        raise ConfigError(f"--files {shown(asked)}: {kind} in {shown(base)}", hint="Paths count from that folder.")
    return [os.path.normpath(match) for match in found if not Rules.at(base, base).ignore(match, os.path.isdir(match))]


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
