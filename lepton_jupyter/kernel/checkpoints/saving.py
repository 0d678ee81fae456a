"""What a cell calls: `epochs`, `checkpoint`, `restore`. In the remote kernel.

A checkpoint is taken at once, in memory, and written by a thread; the next one waits for it, and the cell's end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from ...errors import ConfigError, HostStorage, LeptonError
from .bucket import Bucket
from .folder import Folder, Snapshot
from .states import chance, put_back, put_chance_back, state


class Checkpoints:
    """Of one run of a cell. Without `resume`, it begins anew and what an earlier run left stays as it is."""

    def __init__(
        self,
        folder: Folder,
        resume: bool,
        namespace: dict[str, Any],
        tell: Callable[[str], None],
        bucket: Bucket | None = None,
    ) -> None:
        self._folder, self.resume, self._namespace = folder, resume, namespace
        self._tell, self._bucket = tell, bucket
        self._number = 0
        self._epoch: int | None = None  # the one that goes on
        self._behind = 0  # epochs that the restored checkpoint had behind it
        self._writer: threading.Thread | None = None
        self._failure: HostStorage | None = None

    def epochs(self, count: int) -> Iterator[int]:
        """`range(count)`, less the epochs that were done when the restored checkpoint was taken."""
        if type(count) is not int or count < 0:
            raise ConfigError(f"lepton.epochs({count!r}): a number of epochs is a whole number, 0 or more")
        for epoch in range(self._behind, count):
            self._epoch = epoch
            yield epoch
        self._epoch = None

    def checkpoint(self, objects: dict[str, Any]) -> None:
        """Keep these objects as they are now. Raises Untransferable, and HostStorage if the one before failed."""
        if not objects:
            raise ConfigError(
                "nothing to keep", hint="For example: lepton.checkpoint(model=model, optimizer=optimizer)"
            )
        self.wait()
        self._number += 1
        behind = self._behind if self._epoch is None else self._epoch + 1
        kept = {name: state(value) for name, value in objects.items()}
        snapshot = Snapshot({"objects": kept, "chance": chance(), "epochs": behind, "number": self._number})
        number = self._number

        def write() -> None:
            try:
                path = self._folder.write(number, snapshot)
            except HostStorage as error:
                self._failure = error
                return
            try:
                if self._bucket is not None:
                    self._bucket.write(path, number)
            except (LeptonError, OSError) as error:  # it is on this host's disk, so the training goes on
                self._tell(f"the checkpoint {number} is not in the bucket: {error}")

        self._writer = threading.Thread(target=write, name="lepton checkpoint")
        self._writer.start()

    def restore(self, objects: dict[str, Any]) -> dict[str, Any] | None:
        """Put the objects back; the plain values of the newest checkpoint, or None if nothing is to be resumed."""
        path = self._newest() if self.resume else ""
        if not path:
            if self.resume:
                self._tell("--resume: this cell has left no checkpoint, so it begins anew")
            return None
        found = self._folder.read(path, self._namespace)
        kept = found["objects"]
        if unknown := sorted(set(objects) - set(kept)):
            raise ConfigError(
                f"the checkpoint has no {', '.join(map(repr, unknown))}", hint=f"It has: {', '.join(sorted(kept))}."
            )
        left = sorted(name for name, (kind, _) in kept.items() if kind != "value" and name not in objects)
        if left:
            raise ConfigError(
                f"the checkpoint also has {', '.join(map(repr, left))}, which would not go on as it was",
                hint="Give lepton.restore(…) all that lepton.checkpoint(…) was given.",
            )
        for name, value in objects.items():
            put_back(name, value, kept[name])
        put_chance_back(found["chance"])
        self._behind, self._number = found["epochs"], found["number"]
        return {name: value for name, (kind, value) in kept.items() if kind == "value"}

    def wait(self) -> None:
        """Until what was taken is on the disk. Raises HostStorage if it could not be written."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _newest(self) -> str:
        """The folder of the newest checkpoint, of this host or else of the bucket; empty without one."""
        path = self._folder.newest()
        if not path and self._bucket is not None:
            path = self._folder.first
            if not self._bucket.fetch(path):
                return ""
        return path

    def settle(self) -> None:
        """The cell has ended: as `wait`, but what failed is told."""
        try:
            self.wait()
        except HostStorage as error:
            self._tell(f"{error.message}. {error.hint}")
