"""The object `lepton` that cells find on the host, without an import. In the remote kernel."""

from __future__ import annotations

import os
from collections.abc import Callable


class Lepton:
    """What a cell can tell its notebook. `leave` keeps one file as an artifact of the job."""

    def __init__(self, leave: Callable[[str, str], None]) -> None:
        self._leave = leave

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
        return "lepton: artifact(path) keeps a file with the job"
