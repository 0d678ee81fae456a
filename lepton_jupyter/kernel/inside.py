"""The object `lepton` that cells find on the host, without an import. In the remote kernel."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..ml.metrics import Meter


class Lepton:
    """What a cell can tell its notebook. `leave` keeps one file as an artifact of the job."""

    def __init__(self, leave: Callable[[str, str], None]) -> None:
        self._leave = leave
        self._meter: Meter | None = None

    def log_into(self, meter: Meter) -> None:
        """From now on `log` tells `meter`."""
        self._meter = meter

    def log(self, *, step: float | None = None, **values: Any) -> None:
        """Tell metrics: ``lepton.log(val_accuracy=0.93, step=400)``. They are drawn and kept with the job.

        Numbers, or tensors of one number; a GPU is waited for. Raises TypeError or ValueError, with the name of what
        is no number.
        """
        assert self._meter is not None  # is there before any cell of the notebook's runs
        self._meter.log(values, step)

    def artifact(self, path: str | os.PathLike[str], name: str = "") -> None:
        """Keep a file, or every file of a folder, with the job: ``%lepton_fetch JOB`` brings it to the notebook.

        What is kept is the file as it is now; it may be changed or removed at once. `name` is what it is called there,
        its own name by default. Raises FileNotFoundError, and HostStorage when this host has no room for a copy.
        """
        path = os.path.abspath(os.fspath(path))
        called = name or os.path.basename(path)
        if not os.path.isdir(path):
            self._leave(path, called)
            return
        for folder, _, files in os.walk(path):
            for file in sorted(files):
                whole = os.path.join(folder, file)
                self._leave(whole, os.path.join(called, os.path.relpath(whole, path)))

    def __repr__(self) -> str:
        return "lepton: log(loss=…) tells a metric, artifact(path) keeps a file with the job"
