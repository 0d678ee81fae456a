"""Many jobs at once, each on a kernel of its own, as many notebooks start them. Runs in a process of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _serve import serve

from lepton_jupyter.config import Config
from lepton_jupyter.job import JobSpec
from lepton_jupyter.remote import Dispatcher, Run
from lepton_jupyter.store import JobStore
from lepton_jupyter.wire import Event

#: A training as it often looks: an epoch and a loss, twice a second.
_CODE = """
import time
for epoch in range(1, 100000):
    print(f"Epoch {epoch}/100000 - loss: {1 / epoch:.4f}")
    time.sleep(0.5)
"""


class View:
    def __init__(self, run: Run) -> None:
        self.run = run

    def show(self, event: Event) -> None:
        """The jobs' outputs are not what is measured."""

    def notice(self, text: str) -> None: ...


class Crowd:
    def start(self, **options: Any) -> dict[str, Any]:
        """Have `count` jobs running."""
        folder = Path(options["folder"])
        self._dispatcher = Dispatcher(Config.load(folder / "lepton.toml"), JobStore(folder / "state" / "jobs.db"))

        def run(name: str) -> None:
            self._dispatcher.run(JobSpec(code=_CODE, target="local", kernel=name, name=name), View)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(run, [f"bench-{number}" for number in range(options["count"])]))
        return {}

    def leave(self, **options: Any) -> dict[str, Any]:
        """Follow them no longer, as a notebook's kernel that ends."""
        self._dispatcher.close()
        return {}

    def stop(self) -> None:
        """The kernels end with the bed."""


if __name__ == "__main__":
    serve(Crowd())
