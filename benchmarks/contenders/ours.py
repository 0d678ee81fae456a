"""Cells through `Dispatcher.run`, as `%%lepton_train` sends them. Runs in a process of its own, in our environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from _serve import Recorder, serve

from lepton_jupyter.config import Config
from lepton_jupyter.job import JobSpec
from lepton_jupyter.remote import Dispatcher
from lepton_jupyter.store import JobStore
from lepton_jupyter.wire import Event


class View:
    """Gives a job's outputs to the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def show(self, event: Event) -> None:
        if event.event == "iopub":
            self._recorder.add(event.fields["msg_type"], json.loads(event.buffers[1]))

    def notice(self, text: str) -> None:
        """The benchmark knows about its cuts."""


class Ours:
    def start(self, **options: Any) -> None:
        folder = Path(options["folder"])
        config = Config.load(folder / "lepton.toml")
        self._dispatcher = Dispatcher(config, JobStore(folder / "state" / "jobs.db"))
        self._target = options["target"]
        self.cell("pass", Recorder(), 120.0)

    def cell(self, code: str, recorder: Recorder, timeout: float) -> None:
        run = self._dispatcher.run(JobSpec(code=code, target=self._target, kernel="bench"), lambda run: View(recorder))
        if not run.wait(timeout):
            raise TimeoutError(f"the cell has not ended after {timeout:.0f} s")
        if run.error is not None:
            raise run.error

    def stop(self) -> None:
        native_id = self._dispatcher.store.kernel(self._target, "bench")
        if native_id is not None:
            self._dispatcher.target(self._target).stop(native_id)
        self._dispatcher.close()


if __name__ == "__main__":
    serve(Ours())
