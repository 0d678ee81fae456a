"""Files are written into a folder, and never anywhere else. Runs on both ends.

Every step is relative to an open folder and follows no link, so neither a name nor a link that somebody puts there in
the meantime leads out of it. A file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator

from ..errors import LeptonError, WireError
from ._contents import Contents, write
from ._tree import FOLDER, LINK, OURS, PROGRAM, is_case_blind, no_room, shown

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Folder:
    """An open folder, made when absent. Use as a context manager. With `private`, files are the user's alone."""

    def __init__(self, path: str, *, private: bool = True) -> None:
        self.path = os.path.abspath(path)
        self._most = 0o700 if private else 0o777
        os.makedirs(self.path, mode=self._most, exist_ok=True)
        self._root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: list[tuple[str, int]] = []  # the way to the folder that was used last

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *about: object) -> None:
        self._back(0)
        os.close(self._root)

    @property
    def case_blind(self) -> bool:
        """Whether "A" and "a" are one name here."""
        return is_case_blind(self._root)

    @property
    def free(self) -> int:
        """Bytes that can be written."""
        disk = os.fstatvfs(self._root)
        return disk.f_bavail * disk.f_frsize

    def stat(self, path: str) -> os.stat_result | None:
        """What is at `path`, links not followed; None when there is nothing that this class would have put there."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, LeptonError):
            fd, name = self._parent(path, make=False)
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        return None

    def open(self, path: str) -> int:
        """A descriptor of the file at `path`, to read; a link is refused. Raises OSError."""
        fd, name = self._parent(path, make=False)
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=fd)

    def put(self, path: str, entry: tuple[str, int, int], contents: Contents, *, replace: bool = True) -> None:
        """Write what a checked `entry` tells. Without `replace`, what is there stays, and the disk has all on return.

        Raises LeptonError when something is in the way or the disk is full.
        """
        try:
            if entry[2] == FOLDER:
                self._parent(f"{path}/." if path != "." else ".", make=True)
            elif entry[2] == LINK:
                self._link(path, entry[0], replace)
            else:
                self._file(path, entry, contents, replace)
        except OSError as error:
            raise LeptonError(
                f"{shown(path)} cannot be written in {self.path}: {error.strerror}",
                hint="Files before it were written; try again when this is mended, or name another folder.",
            ) from error

    def _file(self, path: str, entry: tuple[str, int, int], contents: Contents, replace: bool) -> None:
        digest, size, mode = entry
        with self._new(path, self._most & (0o777 if mode == PROGRAM else 0o666), replace) as fd:
            contents.write(path, digest, size, fd)
            if not replace:
                os.fsync(fd)

    def _link(self, path: str, target: str, replace: bool) -> None:
        fd, name = self._parent(path, make=True)
        temporary = OURS + secrets.token_hex(8) if replace else name
        os.symlink(target, temporary, dir_fd=fd)
        if replace:
            self._rename(fd, temporary, name, path)

    def data(self, path: str, data: bytes) -> None:
        """Write a small file of our own."""
        with self._new(path, 0o600, True) as fd:
            write(fd, data)

    def remove(self, path: str) -> None:
        """Remove a file or link, and the folders above it that are empty then."""
        with contextlib.suppress(OSError, LeptonError):
            fd, name = self._parent(path, make=False)
            os.unlink(name, dir_fd=fd)
            while "/" in path:
                path = path.rpartition("/")[0]
                self._back(path.count("/"))
                fd, name = self._parent(path, make=False)
                os.rmdir(name, dir_fd=fd)

    @contextlib.contextmanager
    def _new(self, path: str, mode: int, replace: bool) -> Iterator[int]:
        fd, name = self._parent(path, make=True)
        temporary, left = OURS + secrets.token_hex(8), True
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(temporary, flags, mode, dir_fd=fd)
            try:
                yield file
            finally:
                os.close(file)
            if replace:
                self._rename(fd, temporary, name, path)
                left = False
            else:
                _publish(fd, temporary, name)
        except OSError as error:
            if error.errno in _FULL:
                raise no_room(self.path) from error
            raise
        finally:
            if left:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=fd)

    def _rename(self, fd: int, temporary: str, name: str, path: str) -> None:
        try:
            os.replace(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
        except (IsADirectoryError, NotADirectoryError):
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=fd)
            raise LeptonError(
                f"{shown(path)} cannot be written: there is a folder of that name in {self.path}",
                hint="Move or remove that folder, or send the file by another name.",
            ) from None

    def _parent(self, path: str, make: bool) -> tuple[int, str]:
        """The open folder that `path` lies in, and its name there."""
        *parts, name = path.split("/")
        if ".." in (*parts, name) or "" in (*parts, name):
            raise WireError(f"{shown(path)} was refused: its path leads elsewhere")
        same = 0
        while same < min(len(parts), len(self._open)) and self._open[same][0] == parts[same]:
            same += 1
        self._back(same)
        for part in parts[same:]:
            self._open.append((part, self._enter(self._open[-1][1] if self._open else self._root, part, path, make)))
        return (self._open[-1][1] if self._open else self._root), name

    def _enter(self, fd: int, part: str, path: str, make: bool) -> int:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, self._most, dir_fd=fd)
        try:
            return os.open(part, _FOLDER, dir_fd=fd)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
        kind = "link" if stat.S_ISLNK(os.stat(part, dir_fd=fd, follow_symlinks=False).st_mode) else "file"
        raise LeptonError(
            f"{shown(path)} cannot be written: {shown(part)} is a {kind} in {self.path}, which could lead elsewhere",
            hint="Remove it there, or send to another name.",
        )

    def _back(self, count: int) -> None:
        while len(self._open) > count:
            os.close(self._open.pop()[1])


def _publish(fd: int, temporary: str, name: str) -> None:
    """Give a finished file its name, unless something has it. Raises FileExistsError."""
    try:
        os.link(temporary, name, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.access(name, os.F_OK, dir_fd=fd, follow_symlinks=False):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
        os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
