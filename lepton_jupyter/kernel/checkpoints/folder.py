"""Checkpoints as they lie on the disk. In the remote kernel.

``ROOT/checkpoints/CELL/JOB/00000012/`` is the 12th checkpoint of one run of a cell: ``state.json`` has documents of
`data.values` by name, and the files beside it are the blobs they name, by their SHA-256. A folder is made under another
name and renamed when the disk has all of it, so one that has its name is whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ...data import values
from ...errors import HostStorage
from .snapshot import Snapshot, write

#: Runs of a cell, and checkpoints of a run, that are kept; the rest goes when a new one is whole.
RUNS, CHECKPOINTS = 2, 3
STATE = "state.json"
_ASIDE = ".part"
#: Seconds after which nobody writes there any more.
_LEFT = 3600
#: Bytes that are hashed while the processor's cache still has them.
_PART = 1 << 20


class Folder:
    """The checkpoints of one cell; `job` is the run that writes now."""

    def __init__(self, path: str, job: str, runs: int = RUNS, checkpoints: int = CHECKPOINTS) -> None:
        self.path, self.job = path, job
        self._keeps = runs, checkpoints

    @property
    def first(self) -> str:
        """Where a checkpoint belongs that this run did not make itself."""
        return os.path.join(self.path, self.job, f"{0:08d}")

    def of_fit(self, number: int) -> Folder:
        """That of a cell's `fit` of that number; only its newest checkpoint is kept."""
        return Folder(f"{self.path}-fit{number}", self.job, runs=1, checkpoints=1)

    def write(self, number: int, snapshot: Snapshot) -> str:
        """Write a checkpoint, then let older ones go; its folder. Raises HostStorage when the disk refuses."""
        run = os.path.join(self.path, self.job)
        final = os.path.join(run, f"{number:08d}")
        aside = f"{final}{_ASIDE}"
        try:
            try:
                self._write(aside, snapshot)
            except OSError as error:
                older = _numbers(run)
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or len(older) < 2:
                    raise
                for each in older[1:]:  # the disk is full, and one whole checkpoint is enough while another is made
                    shutil.rmtree(os.path.join(run, each), ignore_errors=True)
                self._write(aside, snapshot)
            os.rename(aside, final)
            _sync(run)
        except OSError as error:
            raise HostStorage(
                f"the checkpoint {number} could not be written: {error}",
                hint="Free disk space on the host, or put the target's `root` on another disk.",
            ) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        self._forget()
        return final

    def _write(self, aside: str, snapshot: Snapshot) -> None:
        shutil.rmtree(aside, ignore_errors=True)
        os.makedirs(aside, mode=0o700)
        write(os.path.join(aside, STATE), snapshot.write(aside))
        _sync(aside)

    def newest(self) -> str:
        """The folder of the newest whole checkpoint of any run; empty without one."""
        return next(self._newest_first(), "")

    def read(self, path: str, namespace: dict[str, Any]) -> dict[str, Any]:
        """The values in a checkpoint's folder, by name. Raises HostStorage, and what `data.values.decode` does."""
        try:
            with open(os.path.join(path, STATE), "rb") as file:
                documents = json.load(file)
            source, trust = _Source(path), values.Trust.host(namespace)
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from error
        return {name: values.decode(document, source, trust=trust) for name, document in documents.items()}

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
        runs, checkpoints = self._keeps
        for place, run in enumerate(self._runs()):
            if place >= runs:
                shutil.rmtree(run, ignore_errors=True)
                continue
            if place:  # what a run was writing when it was killed
                for name in os.listdir(run):
                    left = os.path.join(run, name)
                    if name.endswith(_ASIDE) and time.time() - os.stat(left).st_mtime > _LEFT:
                        shutil.rmtree(left, ignore_errors=True)
            for number in _numbers(run)[checkpoints:]:
                shutil.rmtree(os.path.join(run, number), ignore_errors=True)


class _Source:
    """See `data.values.unpacker.Source`: a checkpoint's own folder, whose files are held against their names first.

    They are read into memory on the way, since all of it is used: mapped, each page would be copied when it is changed.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        names = [name for name in os.listdir(folder) if name != STATE]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # neither reading nor hashing needs the interpreter's lock
            self._found = dict(zip(names, pool.map(self._read, names)))

    def path(self, digest: str) -> str:
        self.buffer(digest)
        return os.path.join(self._folder, digest)

    def buffer(self, digest: str) -> bytearray | mmap.mmap:
        if digest not in self._found:
            raise _damaged(self._folder, f"{digest} is missing")
        return self._found[digest]

    def _read(self, name: str) -> bytearray | mmap.mmap:
        with open(os.path.join(self._folder, name), "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            found = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if size else bytearray()
            digest = hashlib.sha256()
            with memoryview(found) as memory:
                at = 0
                while count := file.readinto(memory[at : at + _PART]):
                    digest.update(memory[at : at + count])
                    at += count
        if digest.hexdigest() != name:
            raise ValueError(f"{name} is not what it was")
        return found


def _damaged(folder: str, why: object) -> HostStorage:
    return HostStorage(f"the checkpoint {folder} is damaged: {why}", hint="Remove its folder: an older one is used.")


def _numbers(run: str) -> list[str]:
    """The whole checkpoints of a run, the newest first."""
    return sorted((name for name in os.listdir(run) if name.isdigit()), reverse=True)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
