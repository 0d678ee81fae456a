"""Bytes by their content: a folder of blobs named by their SHA-256, shared by all who run as the same user.

Runs everywhere, also on hosts: standard library only, Python 3.9.

::

    FOLDER/ (0700)
      ab/abcd…        a blob (0400); the time of its last access is when it was last used
      parts/abcd…     a blob that is on its way in; what is there stays for the next attempt
      pins/NAME-…     digests that somebody needs, under a lock that ends with its process
      lock            held while blobs are evicted

A blob is no one's only copy, so none is synced to the disk: what a power cut tore does not match its digest, is removed
at its next use, and made or sent again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any, Union

from .errors import BlobDamaged, BlobMissing, LeptonError, WireError

Digest = str
#: Blobs beyond this are evicted, unless they are pinned.
MAX_BYTES = 20 << 30
#: Seconds after which what is left of a broken transfer is dropped.
KEEP_PARTS = 7 * 24 * 3600.0

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PIECE = 1 << 20
#: Linux: let the target share the source's blocks (btrfs, xfs).
_FICLONE = 0x40049409

Data = Union[bytes, bytearray, memoryview]


class BlobStore:
    """The blobs in `folder`, made when absent. Safe for threads and for any number of processes.

    What the disk refuses is raised as `fault`, with words that say so.
    """

    def __init__(self, folder: str, max_bytes: int = MAX_BYTES, fault: type[LeptonError] = LeptonError) -> None:
        self.folder, self.max_bytes, self._fault = os.fspath(folder), max_bytes, fault
        self._verified: dict[Digest, tuple[int, int, int]] = {}
        with self.storing():
            for path in (self.folder, self._in("parts"), self._in("pins")):
                os.makedirs(path, mode=0o700, exist_ok=True)

    # what is there

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether the blob is here, with that size if one is given; its bytes are checked by `path`."""
        found = self._stat(digest)
        return found is not None and size in (None, found.st_size)

    def size(self, digest: Digest) -> int:
        """Its length in bytes. Raises BlobMissing."""
        found = self._stat(digest)
        if found is None:
            raise BlobMissing(f"blob {digest} is not in {self.folder}")
        return found.st_size

    def path(self, digest: Digest) -> str:
        """A file with exactly these bytes, to be read only; counts as a use.

        Its bytes are verified when this process uses it first, and whenever the file was changed since.
        Raises BlobMissing; BlobDamaged when the disk holds other bytes, which are removed.
        """
        path, mark = self._blob(digest), self._mark(digest)
        if mark is None:
            raise BlobMissing(f"blob {digest} is not in {self.folder}")
        if self._verified.get(digest) != mark:
            with open(path, "rb") as file:
                found = _hash(file.fileno(), hashlib.sha256(), 0)
            if found.hexdigest() != digest:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                raise BlobDamaged(f"blob {digest} was damaged in {self.folder}", hint="It was removed; send it again.")
            self._verified[digest] = mark
        self.touch(digest)
        return path

    def touch(self, digest: Digest) -> bool:
        """Count this as a use of the blob; whether it is here."""
        with contextlib.suppress(OSError):
            path = self._blob(digest)
            os.utime(path, ns=(time.time_ns(), os.stat(path).st_mtime_ns))
            return True
        return False

    def read(self, digest: Digest, offset: int, length: int) -> bytes:
        """A piece of the blob, unverified: who receives it verifies the whole. Raises BlobMissing, WireError."""
        size = self.size(digest)
        if offset < 0 or length < 0 or offset + length > size:
            raise WireError(f"blob {digest} has {size:,} bytes, not bytes {offset:,} to {offset + length:,}")
        try:
            with open(self._blob(digest), "rb", buffering=0) as file:
                file.seek(offset)
                data = file.read(length)
        except FileNotFoundError:
            raise BlobMissing(f"blob {digest} is not in {self.folder} any more") from None
        except OSError as error:
            raise self._fault(f"blob {digest} in {self.folder} cannot be read: {error.strerror}") from error
        if len(data) != length:
            raise BlobDamaged(f"blob {digest} was cut short in {self.folder}")
        return data

    # what comes in

    def put(self, data: Data) -> Digest:
        """Keep a copy of `data`; its digest."""
        digest = hashlib.sha256(data).hexdigest()
        if not self.touch(digest):
            with self._new() as (fd, path):
                _write(fd, memoryview(data).cast("B"))
                self.keep(path, digest)
        return digest

    def put_file(self, path: str) -> Digest:
        """Keep a copy of a file as it is now; its digest. The copy is one version even if the file changes meanwhile.

        Raises OSError when it cannot be read.
        """
        with open(path, "rb") as source:
            with self._new() as (fd, copy):
                hasher = hashlib.sha256()
                if _clone(source.fileno(), fd):
                    _hash(fd, hasher, 0)
                else:
                    _copy(source.fileno(), fd, hasher)
                digest = hasher.hexdigest()
                if not self.touch(digest):
                    self.keep(copy, digest)
        return digest

    def begun(self, digest: Digest, size: int) -> int:
        """How many bytes are here of a blob of `size` that is on its way in."""
        try:
            there = os.stat(self._in("parts", checked(digest))).st_size
        except FileNotFoundError:
            return 0
        return there if there <= size else 0

    def part(self, digest: Digest, size: int) -> Part:
        """The blob of `size` bytes as far as it has come; what others are receiving of it counts."""
        return Part(self, digest, size)

    # what stays

    @contextlib.contextmanager
    def pin(self, name: str, digests: Collection[Digest]) -> Iterator[None]:
        """Keep these blobs, there or to come, from being evicted, until left or until this process ends.

        `name` says to people who look into the folder whose they are.
        """
        with self.storing(), self._locked(fcntl.LOCK_SH):
            prefix = re.sub(r"[^A-Za-z0-9]+", "-", name)[:40] + "-"
            fd, path = tempfile.mkstemp(prefix=prefix, dir=self._in("pins"))
            fcntl.flock(fd, fcntl.LOCK_EX)
            _write(fd, memoryview("".join(digest + "\n" for digest in digests).encode()))
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.close(fd)

    def evict(self, room: int = 0) -> int:
        """Remove what was not used for longest until `room` bytes more are within `max_bytes`; the bytes freed.

        What is pinned stays, even when the store is then larger than it may be. Raises the store's error when even so
        the disk has no `room`.
        """
        freed = 0
        with self.storing(), self._locked(fcntl.LOCK_EX):
            self._drop_stale()
            free = self._free()
            pinned = self._pinned()
            blobs = sorted(self._blobs())
            total = sum(size for _, size, _ in blobs)
            for _, size, path in blobs:
                if total - freed + room <= self.max_bytes and free + freed >= room:
                    break
                if os.path.basename(path) not in pinned:
                    os.unlink(path)
                    freed += size
            free = self._free()
        if free < room:
            words = f"{room:,} bytes of data do not fit into {self.folder}: its disk has {free:,} bytes free"
            raise self._fault(words, hint="Free disk space there.")
        return freed

    # how it is done

    def _in(self, *names: str) -> str:
        return os.path.join(self.folder, *names)

    def _blob(self, digest: Digest) -> str:
        return self._in(checked(digest)[:2], digest)

    def _stat(self, digest: Digest) -> os.stat_result | None:
        try:
            return os.stat(self._blob(digest))
        except FileNotFoundError:
            return None

    def _mark(self, digest: Digest) -> tuple[int, int, int] | None:
        """What changes when a file is replaced or written to."""
        found = self._stat(digest)
        return None if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)

    @contextlib.contextmanager
    def storing(self) -> Iterator[None]:
        """Say in words what the disk refuses."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            hint = "Free disk space there." if full else "Can you write there, and is the disk well?"
            raise self._fault(f"data cannot be stored in {self.folder}: {error.strerror}", hint=hint) from error

    def keep(self, path: str, digest: Digest) -> None:
        """Name a private file, whose bytes have this digest, as the blob they are."""
        blob = self._blob(digest)
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.dirname(blob), 0o700)
        os.chmod(path, 0o400)
        os.replace(path, blob)
        mark = self._mark(digest)
        if mark is not None:
            self._verified[digest] = mark

    @contextlib.contextmanager
    def _new(self) -> Iterator[tuple[int, str]]:
        """A file to be filled and kept, open, and its path; it is gone unless it was kept."""
        with self.storing():
            fd, path = tempfile.mkstemp(prefix="new-", dir=self._in("parts"))
            try:
                yield fd, path
            finally:
                os.close(fd)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    @contextlib.contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        fd = os.open(self._in("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, kind)
            yield
        finally:
            os.close(fd)

    def _pinned(self) -> set[Digest]:
        """What the living need; the pins of the dead are removed."""
        found: set[Digest] = set()
        for entry in list(os.scandir(self._in("pins"))):
            with open(entry.path) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    found.update(file.read().split())
                else:
                    os.unlink(entry.path)
        return found

    def _blobs(self) -> Iterator[tuple[int, int, str]]:
        """Of every blob when it was last used, its size and its path."""
        for folder in list(os.scandir(self.folder)):
            for entry in list(os.scandir(folder.path)) if len(folder.name) == 2 else []:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    yield status.st_atime_ns, status.st_size, entry.path

    def _free(self) -> int:
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

    def _drop_stale(self) -> None:
        """Remove what broken transfers left long ago."""
        for entry in list(os.scandir(self._in("parts"))):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime > KEEP_PARTS:
                    os.unlink(entry.path)


class Part:
    """A blob on its way in, `size` bytes in the end; made by `BlobStore.part`.

    Several processes may bring the same one: bytes count from whoever brings them first, and nobody's are changed.
    """

    def __init__(self, store: BlobStore, digest: Digest, size: int) -> None:
        self.digest, self.size = checked(digest), checked_size(size)
        self.offset = 0  # how many bytes are here
        self._store = store
        self._path = os.path.join(store.folder, "parts", digest)
        self._hasher, self._hashed = hashlib.sha256(), 0
        self._fd: int | None = None
        self._lock = threading.Lock()
        with self._alone():
            pass  # what is there is known from here on

    def write(self, offset: int, data: Data) -> int:
        """Add `data`, which begins at `offset`; how many bytes are here now.

        What is here already is not written again, and what would leave a gap is not written.
        Raises WireError when there is more than was announced, and the store's error when the disk refuses it.
        """
        view = memoryview(data).cast("B")
        if offset < 0 or offset + len(view) > self.size:
            end = offset + len(view)
            raise WireError(f"blob {self.digest} has {self.size:,} bytes; bytes {offset:,} to {end:,} were refused")
        with self._alone() as fd:
            if fd is not None and offset <= self.offset < offset + len(view):
                view = view[self.offset - offset :]
                try:
                    _write(fd, view)
                except OSError:
                    os.ftruncate(fd, self.offset)
                    raise
                if self._hashed == self.offset:
                    self._hasher.update(view)
                    self._hashed += len(view)
                self.offset += len(view)
            return self.offset

    def finish(self) -> None:
        """Make it a blob of the store, once all bytes are here.

        Raises BlobDamaged when they are others than the digest says; they are gone then.
        """
        with self._alone() as fd:
            if fd is None:
                return
            if self.offset < self.size:
                raise WireError(f"{self.size - self.offset:,} bytes of blob {self.digest} are missing still")
            _hash(fd, self._hasher, self._hashed)
            if self._hasher.hexdigest() == self.digest:
                self._store.keep(self._path, self.digest)
            else:
                os.unlink(self._path)
                self.offset, self._hasher, self._hashed = 0, hashlib.sha256(), 0
                words = f"what arrived as blob {self.digest} has another digest, and was removed"
                raise BlobDamaged(words, hint="Send it again. If it happens twice, its store is damaged.")

    def close(self) -> None:
        """Let go of it; what is here stays for the next attempt."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[int | None]:
        """The file, which nobody else changes meanwhile, with `offset` at its end; None when the blob is here whole."""
        with self._lock, self._store.storing():
            while True:
                if self._store.has(self.digest, self.size):
                    self.offset = self.size
                    self._let_go()
                    yield None
                    return
                if self._fd is None:
                    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND
                    self._fd = os.open(self._path, flags, 0o600)
                fcntl.flock(self._fd, fcntl.LOCK_EX)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(self._fd), os.stat(self._path)):
                        break
                self._let_go()  # it was kept as a blob, or removed: look again
            try:
                self.offset = os.fstat(self._fd).st_size
                if self.offset > self.size:
                    os.ftruncate(self._fd, 0)  # left by one who announced more: not to be trusted
                    self.offset = 0
                if self.offset < self._hashed:
                    self._hasher, self._hashed = hashlib.sha256(), 0
                yield self._fd
            finally:
                if self._fd is not None:
                    fcntl.flock(self._fd, fcntl.LOCK_UN)


def checked(digest: Digest) -> Digest:
    """The digest, which is one. Raises WireError."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise WireError(f"{digest!r:.100} is no digest")
    return digest


def checked_size(size: int) -> int:
    """The size, which a blob may have. Raises WireError."""
    if not 0 <= size < 1 << 60:
        raise WireError(f"a blob of {size:,} bytes was refused")
    return size


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _hash(fd: int, hasher: Any, start: int) -> Any:
    """Add the bytes of an open file from `start` on to `hasher`."""
    while piece := os.pread(fd, _PIECE, start):
        hasher.update(piece)
        start += len(piece)
    return hasher


def _copy(source: int, target: int, hasher: Any) -> None:
    """Write what `source` holds and hash it, both at once where it is large."""
    piece = os.read(source, _PIECE)
    if len(piece) < _PIECE:  # a thread costs more than it spares
        while piece:
            hasher.update(piece)
            _write(target, memoryview(piece))
            piece = os.read(source, _PIECE)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as beside:
        while piece:
            hashed = beside.submit(hasher.update, piece)
            _write(target, memoryview(piece))
            hashed.result()
            piece = os.read(source, _PIECE)


def _clone(source: int, target: int) -> bool:
    """Let `target` share the blocks of `source`, where the file system can."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True
