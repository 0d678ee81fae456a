"""What the fault tests share: a road to a host, a cell that counts, the account of what arrived. In the test process.

The cell prints numbered lines, changes one display in between and writes to stderr now and then, so that a lost, a
doubled and a reordered output each show. It leaves a mark on the host where a fault shall happen, and may wait there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from lepton_jupyter.config import Config
from lepton_jupyter.job import Job, JobSpec
from lepton_jupyter.outputs import Output, fold
from lepton_jupyter.remote import Dispatcher, Run
from lepton_jupyter.store import JobStore
from lepton_jupyter.wire import Event
from tests.fakes.sshd import Sshd

#: Longer than anything takes on a busy machine; a test that needs it has failed.
PATIENCE = 200.0

_CELL = """
import os, sys, time
progress = display({{"text/plain": "step 0"}}, raw=True, display_id="progress")
for n in range({lines}):
    print(f"line {{n:05}}", flush=True)
    if n % 10 == 0:
        progress.update({{"text/plain": f"step {{n}}"}}, raw=True)
    if n % 97 == 0:
        print(f"warning {{n:05}}", file=sys.stderr, flush=True)
    if n % 500 == 0:
        display({{"text/plain": f"mark {{n:05}}"}}, raw=True)
    if n in {marks}:
        open(f"at-{{n}}", "w").close()
    if n == {gate}:
        while not os.path.exists("go"):
            time.sleep(0.02)
    time.sleep({pause})
progress.update({{"text/plain": "done"}}, raw=True)
"""


def counting_cell(lines: int, *, marks: tuple[int, ...] = (), gate: int = -1, pause: float = 0.001) -> str:
    """A cell of `lines` numbered lines. At the lines `marks` it leaves a file; at `gate` it waits for the file `go`."""
    return _CELL.format(lines=lines, marks=marks, gate=gate, pause=pause)


def until(what: Callable[[], Any], words: str, timeout: float = PATIENCE) -> Any:
    """Wait until `what()` is true and return it; fail with `words` otherwise."""
    deadline = time.monotonic() + timeout
    while not (found := what()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout:.0f} s in vain: {words}")
        time.sleep(0.02)
    return found


def far(sshd: Sshd, folder: Path, *, port: int | None = None, extra: str = "", **options: Any) -> dict[str, Any]:
    """The options of a target at `sshd`, or at a proxy that listens on `port`; its cells run in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = sshd.config_for(folder / "client", port=port, extra=extra)
    return {
        "kind": "ssh",
        "host": sshd.alias,
        "ssh_config": str(config),
        "python": sys.executable,
        "root": str(sshd.root),
        "cwd": str(folder),
        **options,
    }


def write_config(path: Path, targets: dict[str, dict[str, Any]]) -> Path:
    """A lepton.toml with these targets."""
    lines = []
    for name, options in targets.items():
        lines += [
            f"[targets.{name}]",
            *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in options.items()),
            "",
        ]
    path.write_text("\n".join(lines))
    return path


class Recorder:
    """A view that keeps what it is shown."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.notices: list[str] = []

    def show(self, event: Event) -> None:
        self.events.append(event)

    def notice(self, text: str) -> None:
        self.notices.append(text)

    @classmethod
    def of(cls, events: list[Event]) -> Recorder:
        view = cls()
        view.events = events
        return view

    @property
    def outputs(self) -> list[Output]:
        return fold(self.events)


class Client:
    """A process like a notebook's, as far as jobs go: a dispatcher with its own store."""

    def __init__(self, folder: Path, targets: dict[str, dict[str, Any]], prompt: Any = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.config = write_config(folder / "lepton.toml", targets)
        self.store_path = folder / "state" / "jobs.db"
        given = {} if prompt is None else {"prompt": prompt}
        self.dispatcher = Dispatcher(Config.load(self.config), JobStore(self.store_path), **given)
        self._targets = list(targets)

    def run(self, code: str, on: str = "far", **options: Any) -> tuple[Run, Recorder]:
        """Submit a cell; its run and its view."""
        view = Recorder()
        kernel = options.pop("kernel", "k")
        spec = JobSpec(code=code, target=on, kernel=kernel, name=options.pop("name", ""))
        return self.dispatcher.run(spec, lambda run: view, **options), view

    def attach(self, job_id: str, on: str = "") -> tuple[Run, Recorder]:
        view = Recorder()
        return self.dispatcher.attach(job_id, lambda run: view, on=on), view

    def done(self, code: str, on: str = "far", **options: Any) -> Recorder:
        """Run a cell to its end, which must be a good one."""
        run, view = self.run(code, on, **options)
        finish(run)
        assert run.error is None, run.error
        return view

    def job(self, run: Run) -> Job:
        """The job as the store has it, with all that this client has seen."""
        return self.dispatcher.store.get(run.job_id)

    def close(self) -> None:
        self.dispatcher.close()


def run_notebook(folder: Path, config: Path, *cells: str) -> list[list[Output]]:
    """Run a notebook in a Jupyter kernel; the saved outputs of each of `cells`, also when one failed."""
    sources = ["%load_ext lepton_jupyter", *cells]
    before, after = folder / "before.ipynb", folder / "after.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbformat.write(notebook, before)
    command = [sys.executable, str(Path(__file__).with_name("_notebook.py")), str(before), str(after)]
    environ = {**os.environ, "LEPTON_CONFIG": str(config)}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    loaded, *ran = nbformat.read(after, as_version=4).cells
    assert not loaded.outputs, loaded.outputs
    return [merged(cell.outputs) for cell in ran]


def merged(outputs: list[Any]) -> list[Output]:
    """The outputs with neighbouring chunks of one stream joined, as JupyterLab saves them; nbclient keeps chunks."""
    found: list[Output] = []
    for output in json.loads(json.dumps(outputs)):
        if found and output["output_type"] == "stream" and found[-1].get("name") == output["name"]:
            found[-1]["text"] += output["text"]
        else:
            found.append(output)
    return found


def finish(run: Run, timeout: float = PATIENCE) -> None:
    assert run.wait(timeout), f"job {run.job_id} did not end in {timeout:.0f} s; it is {run.state.value}"


def end_kernels(root: Path) -> None:
    """Kill every agent and kernel of a host's `root`."""
    for process in agents(root):
        family = [process, *process.children(recursive=True)]
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue


def _commands(*words: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if all(any(word in part for part in line) for word in words):
            yield process


def agents(root: Path) -> list[psutil.Process]:
    """The agents that serve kernels under `root`."""
    return list(_commands("serve", str(root)))


def attaches(root: Path) -> list[psutil.Process]:
    """The attach processes on the host, one for each link."""
    return list(_commands("attach", str(root), ".zip"))


def kernel_of(agent: psutil.Process) -> psutil.Process:
    """The kernel process of an agent."""
    return until(lambda: agent.children(), "the agent has a kernel")[0]


def text(outputs: list[Output], name: str = "stdout") -> str:
    return "".join(output["text"] for output in outputs if output.get("name") == name)


def check_account(events: list[Event], lines: int) -> None:
    """Every event once and in order, every line once and in order."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    check_lines(fold(events), lines)


def check_lines(outputs: list[Output], lines: int) -> None:
    """Nothing lost, nothing twice, nothing reordered, in the outputs of `counting_cell(lines)`."""
    assert re.findall(r"line (\d+)\n", text(outputs)) == [f"{n:05}" for n in range(lines)]
    warned = re.findall(r"warning (\d+)\n", text(outputs, "stderr"))
    assert warned == [f"{n:05}" for n in range(0, lines, 97)]
    shown = [output["data"]["text/plain"] for output in outputs if output["output_type"] == "display_data"]
    assert shown == ["done", *(f"mark {n:05}" for n in range(0, lines, 500))]


def in_threads(*jobs: Callable[[], Any]) -> list[Any]:
    """Do all `jobs` at once; their results. The first error is raised."""
    results: list[Any] = [None] * len(jobs)
    errors: list[BaseException] = []

    def one(number: int, job: Callable[[], Any]) -> None:
        try:
            results[number] = job()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=one, args=pair, daemon=True) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
