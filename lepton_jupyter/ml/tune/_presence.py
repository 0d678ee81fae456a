"""Which kernels work on a study: each holds a file lock, which ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager


class Presence:
    """One kernel's, in the folder of the study. `worker` is its name."""

    def __init__(self, folder: str) -> None:
        self._folder, self.worker = folder, uuid.uuid4().hex[:12]
        self._alive = open(self._place(self.worker), "w")
        fcntl.flock(self._alive, fcntl.LOCK_EX)

    def lives(self, worker: str) -> bool:
        """Whether that kernel works on the study still."""
        if worker == self.worker:
            return True
        try:
            with open(self._place(worker), "r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(self._place(worker))
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        """This kernel works on it no longer."""
        self._alive.close()
        os.unlink(self._place(self.worker))

    def _place(self, worker: str) -> str:
        return os.path.join(self._folder, f"worker-{worker}")


@contextmanager
def turn(folder: str) -> Iterator[None]:
    """Others that work on the study wait; for what is read and then written."""
    with open(os.path.join(folder, "turn"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
