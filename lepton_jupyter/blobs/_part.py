"""A blob on its way in, from one or several who bring it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from typing import Protocol

from ..errors import BlobDamaged, WireError
from ._bytes import Data, Digest, add, checked, checked_size, write


class Keeper(Protocol):
    """What a part needs of the store that it is to be in."""

    folder: str

    def has(self, digest: Digest, size: int | None = None) -> bool: ...
    def keep(self, path: str, digest: Digest) -> None: ...
    def storing(self) -> contextlib.AbstractContextManager[None]: ...


class Part:
    """A blob on its way in, `size` bytes in the end; made by `BlobStore.part`.

    Several processes may bring the same one: bytes count from whoever brings them first, and nobody's are changed.
    """

    def __init__(self, store: Keeper, digest: Digest, size: int) -> None:
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
                    write(fd, view)
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
            add(fd, self._hasher, self._hashed)
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
