"""The store: blobs asked for, put and kept."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mmap
import os
import tempfile
import time
from collections.abc import Collection, Iterator

from ..errors import BlobDamaged, BlobMissing, LeptonError, WireError
from . import _eviction
from ._bytes import Data, Digest, add, checked, clone, copy_hashed, write
from ._part import Part


class BlobStore:
    """The blobs in `folder`, made when absent. Safe for threads and for any number of processes.

    It may hold `max_bytes`, by default what `limit` said last. What the disk refuses is raised as `fault`, with words
    that say so.
    """

    def __init__(self, folder: str, max_bytes: int | None = None, fault: type[LeptonError] = LeptonError) -> None:
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
                found = add(file.fileno(), hashlib.sha256(), 0)
            if found.hexdigest() != digest:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                raise BlobDamaged(f"blob {digest} was damaged in {self.folder}", hint="It was removed; send it again.")
            self._verified[digest] = mark
        self.touch(digest)
        return path

    def buffer(self, digest: Digest) -> bytearray | mmap.mmap:
        """These bytes to work with, private and writable, read from the file when touched. Raises as `path` does."""
        with open(self.path(digest), "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:  # which can't be mapped
                return bytearray()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

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
                write(fd, memoryview(data).cast("B"))
                self.keep(path, digest)
        return digest

    def put_file(self, path: str) -> Digest:
        """Keep a copy of a file as it is now; its digest. The copy is one version even if the file changes meanwhile.

        Raises OSError when it cannot be read.
        """
        with open(path, "rb") as source:
            with self._new() as (fd, copy):
                hasher = hashlib.sha256()
                if clone(source.fileno(), fd):
                    add(fd, hasher, 0)
                else:
                    copy_hashed(source.fileno(), fd, hasher)
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
        with self.storing():
            fd, path = _eviction.pin(self.folder, name, digests)
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.close(fd)

    def limit(self, max_bytes: int) -> None:
        """Have the folder hold so many bytes, in every process that uses it and from now on."""
        with self.storing():
            _eviction.set_limit(self.folder, max_bytes)

    def evict(self, room: int = 0) -> int:
        """Remove what was not used for longest until `room` bytes more are within what it may hold; the bytes freed.

        What is pinned stays, even when the store is then larger than it may be. Raises the store's error when even so
        the disk has no `room`.
        """
        with self.storing():
            most = _eviction.limit(self.folder) if self.max_bytes is None else self.max_bytes
            freed, free = _eviction.make_room(self.folder, most, room)
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
        os.chmod(path, 0o400)
        try:
            os.replace(path, blob)
        except FileNotFoundError:  # the first of its folder
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.dirname(blob), 0o700)
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
