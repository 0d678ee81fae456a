"""Checkpoints as they lie on the disk. In the remote kernel.

``ROOT/checkpoints/CELL/JOB/00000012/`` is the 12th checkpoint of one run of a cell: ``state.json`` is a document
of `data.values`, and the files beside it are the blobs it names, by their SHA-256. A folder is made under another name
and renamed when the disk has all of it, so one that has its name is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from typing import Any, Union

from ...data import values
from ...errors import HostStorage

Data = Union[bytes, bytearray, memoryview]

#: Runs of a cell, and checkpoints of a run, that are kept; the rest goes when a new one is whole.
RUNS, CHECKPOINTS = 2, 3
STATE = "state.json"


class Snapshot:
    """A value as it is now, ready to be written by another thread. A sink of `data.values`."""

    def __init__(self, value: Any) -> None:
        """Raises Untransferable for what has no safe format."""
        self.parts: dict[str, bytes] = {}
        self._document = json.dumps(values.encode(value, self, name="checkpoint").doc).encode()

    def put(self, data: Data) -> str:
        """See `data.values.packer.Sink`."""
        kept = bytes(data)
        digest = hashlib.sha256(kept).hexdigest()
        self.parts[digest] = kept
        return digest

    def put_file(self, path: str) -> str:
        """See `data.values.packer.Sink`."""
        with open(path, "rb") as file:
            return self.put(file.read())

    def files(self) -> dict[str, bytes]:
        """All files of the checkpoint, by name."""
        return {**self.parts, STATE: self._document}


class Folder:
    """The checkpoints of one cell; `job` is the run that writes now."""

    def __init__(self, path: str, job: str) -> None:
        self.path, self.job = path, job
        self._fits = 0

    @property
    def first(self) -> str:
        """Where a checkpoint belongs that this run did not make itself."""
        return os.path.join(self.path, self.job, f"{0:08d}")

    def of_keras(self) -> Any:
        """Keras' own callback, which keeps each epoch of a `fit` and goes on there; one for each `fit` of a cell."""
        import keras

        self._fits += 1
        return keras.callbacks.BackupAndRestore(os.path.join(f"{self.path}-keras", str(self._fits)))

    def write(self, number: int, snapshot: Snapshot) -> str:
        """Write a checkpoint, then let older ones go; its folder. Raises HostStorage when the disk refuses."""
        run = os.path.join(self.path, self.job)
        final = os.path.join(run, f"{number:08d}")
        aside = f"{final}.part"
        try:
            shutil.rmtree(aside, ignore_errors=True)
            os.makedirs(aside, mode=0o700)
            for name, data in snapshot.files().items():
                with open(os.path.join(aside, name), "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            os.rename(aside, final)
            _sync(run)
        except OSError as error:
            raise HostStorage(
                f"the checkpoint {number} could not be written: {error}",
                hint="Free disk space on the host, or put the target's `root` on another disk.",
            ) from error
        self._forget()
        return final

    def newest(self) -> str:
        """The folder of the newest whole checkpoint of any run; empty without one."""
        return next(self._newest_first(), "")

    def read(self, path: str, namespace: dict[str, Any]) -> Any:
        """The value in a checkpoint's folder. Raises what `data.values.decode` does."""
        with open(os.path.join(path, STATE), "rb") as file:
            document = json.load(file)
        return values.decode(document, _Source(path), trust=values.Trust.host(namespace))

    def _newest_first(self) -> Iterator[str]:
        for run in self._runs():
            for number in _numbers(run):
                yield os.path.join(run, number)

    def _runs(self) -> list[str]:
        """The folders of the runs, the one that wrote last first; the present one before all."""
        try:
            found = [entry.path for entry in os.scandir(self.path) if entry.is_dir()]
        except FileNotFoundError:
            return []
        return sorted(found, key=lambda run: (os.path.basename(run) == self.job, os.stat(run).st_mtime), reverse=True)

    def _forget(self) -> None:
        for place, run in enumerate(self._runs()):
            if place >= RUNS:
                shutil.rmtree(run, ignore_errors=True)
                continue
            for number in _numbers(run)[CHECKPOINTS:]:
                shutil.rmtree(os.path.join(run, number), ignore_errors=True)


class _Source:
    """See `data.values.unpacker.Source`: a checkpoint's own folder. What lies there is held against its name."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def path(self, digest: str) -> str:
        path = os.path.join(self._folder, digest)
        found = hashlib.sha256()
        with open(path, "rb") as file:
            for part in iter(lambda: file.read(1 << 20), b""):
                found.update(part)
        if found.hexdigest() != digest:
            raise HostStorage(f"the checkpoint {self._folder} is damaged", hint="Remove it; an older one is used.")
        return path


def _numbers(run: str) -> list[str]:
    """The whole checkpoints of a run, the newest first."""
    return sorted((name for name in os.listdir(run) if name.isdigit()), reverse=True)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
