"""What is known of objects in buckets: the digest of each version that this host read or wrote. On the host.

A file for each version of each object, named by a hash, so that neither URLs nor what may be secret in them is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...blobs import BlobStore, Digest

#: Seconds after its last use that an entry is forgotten.
KEEP = 90 * 24 * 3600.0


class Index:
    """Beside the blobs of `cache`; its errors are the store's."""

    def __init__(self, cache: BlobStore) -> None:
        self._cache = cache
        self._folder = os.path.join(os.path.dirname(os.path.abspath(cache.folder)), "urls")
        with cache.storing():
            os.makedirs(self._folder, mode=0o700, exist_ok=True)

    def find(self, key: str) -> Digest | None:
        """The digest that was recorded under `key`, if one was."""
        try:
            with open(self._path(key)) as file:
                digest = file.read(65)
            os.utime(self._path(key))
        except OSError:
            return None
        return digest if len(digest) == 64 and set(digest) <= set("0123456789abcdef") else None

    def record(self, key: str, digest: Digest) -> None:
        """From now on `find(key)` is `digest`."""
        path = self._path(key)
        with self._cache.storing():
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            fd, new = tempfile.mkstemp(dir=os.path.dirname(path))
            with open(fd, "w") as file:
                file.write(digest)
            os.replace(new, path)

    def forget(self, key: str) -> None:
        """From now on `find(key)` is None."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(key))

    def prune(self) -> None:
        """Forget what was not used for long."""
        for folder in list(os.scandir(self._folder)):
            for entry in list(os.scandir(folder.path)):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - entry.stat().st_mtime > KEEP:
                        os.unlink(entry.path)

    def _path(self, key: str) -> str:
        return os.path.join(self._folder, key[:2], key)


def key(*what: object) -> str:
    """The name under which something is recorded."""
    return hashlib.sha256("\0".join(map(str, what)).encode("utf-8", "surrogateescape")).hexdigest()
