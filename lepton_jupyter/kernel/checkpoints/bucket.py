"""Checkpoints in a bucket, where a target has one: another host goes on where this one was lost. In the remote kernel.

``BUCKET/checkpoints/CELL/`` has at most `CHECKPOINTS` objects, each one whole checkpoint (a tar), and ``newest``, which
names the newest of them; it is written last.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from typing import Any

from ...blobs import BlobStore
from ...data import storage
from ...errors import StorageError, StorageMissing
from .folder import CHECKPOINTS, STATE

_NEWEST = "newest"


class Bucket:
    """The checkpoints of one cell in a bucket."""

    def __init__(self, url: str, store: BlobStore, credentials: Mapping[str, Any] | None) -> None:
        self._url, self._store, self._credentials = url.rstrip("/"), store, credentials

    def of_fit(self, number: int) -> Bucket:
        """That of a cell's `fit` of that number."""
        return Bucket(f"{self._url}-fit{number}", self._store, self._credentials)

    def write(self, folder: str, number: int) -> None:
        """Write a checkpoint that is whole on this host. Raises StorageError and what else a cloud may refuse."""
        name = f"{number % CHECKPOINTS}.tar"
        with tempfile.TemporaryDirectory(dir=os.path.dirname(folder), prefix="upload-") as aside:
            packed, newest = os.path.join(aside, name), os.path.join(aside, _NEWEST)
            with tarfile.open(packed, "w") as tar:
                for entry in sorted(os.listdir(folder)):
                    tar.add(os.path.join(folder, entry), entry)
            with open(newest, "w", encoding="ascii") as file:
                file.write(name)
            for path in (packed, newest):
                storage.upload(path, f"{self._url}/{os.path.basename(path)}", credentials=self._credentials)

    def fetch(self, into: str) -> bool:
        """Put the newest checkpoint into a new folder `into`; False if there is none. Raises StorageError."""
        with tempfile.TemporaryDirectory() as aside:
            try:
                self._get(_NEWEST, aside)
            except StorageMissing:
                return False  # nobody has written one; a bucket that refuses is another matter, and raised
            with open(os.path.join(aside, _NEWEST), encoding="ascii") as file:
                name = os.path.basename(file.read())
            self._get(name, aside)
            os.makedirs(into, mode=0o700)
            with tarfile.open(os.path.join(aside, name)) as tar:
                for member in tar:
                    data = tar.extractfile(member) if member.isfile() and _is_ours(member.name) else None
                    if data is None:
                        raise StorageError(f"{self._url}/{name} is no checkpoint: it has {member.name!r}")
                    with open(os.path.join(into, member.name), "wb") as file:
                        shutil.copyfileobj(data, file, 1 << 20)
        return True

    def _get(self, name: str, into: str) -> None:
        storage.fetch(f"{self._url}/{name}", self._store, into, credentials=self._credentials)


def _is_ours(name: str) -> bool:
    return name == STATE or (len(name) == 64 and not set(name) - set("0123456789abcdef"))
