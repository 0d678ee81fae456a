"""Where checkpoints are kept: on this host's disk and, where the target has one, in a bucket. In the remote kernel.

One is written by a thread; the next waits for it, and the cell's end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ...errors import LeptonError
from .bucket import Bucket
from .folder import Folder
from .snapshot import Snapshot


class Store:
    """The checkpoints of one series, of which the newest is of interest."""

    def __init__(
        self, folder: Folder, bucket: Bucket | None, namespace: dict[str, Any], tell: Callable[[str], None]
    ) -> None:
        self._folder, self._bucket, self._namespace, self._tell = folder, bucket, namespace, tell
        self._writer: threading.Thread | None = None
        self._failure: LeptonError | None = None

    def write(self, number: int, snapshot: Snapshot) -> None:
        """Begin to write it. The one before must have been waited for."""

        def write() -> None:
            try:
                path = self._folder.write(number, snapshot)
            except LeptonError as error:
                self._failure = error
                return
            try:
                if self._bucket is not None:
                    self._bucket.write(path, number)
            except (LeptonError, OSError) as error:  # it is on this host's disk, so the training goes on
                self._tell(f"the checkpoint {number} is not in the bucket: {error}")

        self._writer = threading.Thread(target=write, name="lepton checkpoint")
        self._writer.start()

    def wait(self) -> None:
        """Until what was taken is on the disk. Raises HostStorage if it could not be written."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def settle(self) -> None:
        """The cell has ended: as `wait`, but what failed is told."""
        try:
            self.wait()
        except LeptonError as error:
            self._tell(f"{error.message}. {error.hint}")

    def newest(self) -> dict[str, Any]:
        """The values of the newest checkpoint by name, of this host or else of the bucket; empty without one.

        Raises HostStorage, StorageError, and what `data.values.decode` does.
        """
        path = self._folder.newest()
        if not path and self._bucket is not None:
            path = self._folder.first
            if not self._bucket.fetch(path):
                return {}
        return self._folder.read(path, self._namespace) if path else {}
