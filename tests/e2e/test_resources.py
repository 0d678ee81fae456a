"""From a real kernel to the store: how far a job is, how it uses its host, and who holds the GPU."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lepton_jupyter.client import Link
from lepton_jupyter.config import Config
from lepton_jupyter.errors import ConfigError, UnknownJob
from lepton_jupyter.job import JobSpec, JobState
from lepton_jupyter.remote import Dispatcher, Run
from lepton_jupyter.store import JobStore
from lepton_jupyter.wire import Event

#: A cell that holds "the GPU": the tool below asks this file who does.
CELL = """
import os, time
open({path!r}, "w").write(str(os.getpid()))
end = time.time() + {seconds}
for epoch in range(1, 10_000):
    print(f"Epoch {{epoch}}/10000 - loss: {{1 / epoch:.4f}}")
    time.sleep(0.05)
    if time.time() > end: break
"""
TOOL = """#!{python}
import os, sys
pid = open({path!r}).read() if os.path.exists({path!r}) else ""
if "--query-gpu" in sys.argv[1]:
    print("0, GPU-1, NVIDIA H100, 23, 1000, 80000, 40, 300")
elif pid:
    print(f"GPU-1, {{pid}}, /usr/bin/python3, 900")
"""


class Blind:
    """A view that shows nothing."""

    def show(self, event: Event) -> None:
        pass

    def notice(self, text: str) -> None:
        pass


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A host with a GPU; the file that says whose process has it."""
    path = str(tmp_path / "holder")
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "nvidia-smi").write_text(TOOL.format(python=sys.executable, path=path))
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return path


@pytest.fixture
def dispatcher(tmp_path: Path) -> Iterator[Dispatcher]:
    config = tmp_path / "lepton.toml"
    config.write_text(f'[targets.here]\nkind = "local"\nroot = "{tmp_path / "root"}"\n')
    made = Dispatcher(Config.load(config), JobStore(tmp_path / "state" / "jobs.db"))
    yield made
    made.close()


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def run(dispatcher: Dispatcher, code: str) -> Run:
    return dispatcher.run(JobSpec(code=code, target="here", name="train it"), lambda run: Blind())


def test_a_job_is_watched_while_it_runs_and_judged_at_its_end(dispatcher: Dispatcher, holder: str) -> None:
    samples: list[dict[str, Any]] = []
    links: list[Link] = []
    job = run(dispatcher, CELL.format(path=holder, seconds=13))
    watch = dispatcher.watch("here", samples.append, lambda link, words: links.append(link), every=0.5)
    until(lambda: samples and samples[-1]["devices"][0]["processes"] and samples[-1]["queue"])
    gpu = samples[-1]["devices"][0]
    assert (gpu["name"], gpu["util"], gpu["memory_total"]) == ("NVIDIA H100", 23, 80000 << 20)
    (process,) = gpu["processes"]
    assert (process["job"], process["memory"], process["user"]) == (job.job_id, 900 << 20, psutil.Process().username())
    assert samples[-1]["queue"] == [{"job": job.job_id, "name": "train it", "state": "RUNNING"}]
    until(lambda: watch.latency is not None)
    running = dispatcher.store.get(job.job_id)
    assert running.state is JobState.RUNNING
    assert running.telemetry["progress"]["total"] == 10_000
    assert running.telemetry["metric"]["name"] == "loss"
    watch.close()
    watch.close()
    assert links == [Link.CONNECTED]
    assert job.wait(60)
    done = dispatcher.store.get(job.job_id)
    usage = done.telemetry["usage"]
    assert usage["gpu"] == 23
    assert usage["gpu_memory"] == 900 << 20
    assert usage["words"].startswith("GPU 23 % busy")
    history = dispatcher.history(job.job_id)
    assert len(history["samples"]) == 3
    assert history["words"] == usage["words"]
    assert done.telemetry["progress"]["done"] > 100
    assert len(done.telemetry["metric"]["points"]) > 20


def test_a_history_outlives_its_agent(dispatcher: Dispatcher, holder: str) -> None:
    job = run(dispatcher, CELL.format(path=holder, seconds=600))
    until(lambda: dispatcher.history(job.job_id)["samples"])
    assert job.client is not None
    os.kill(job.client.about["pid"], signal.SIGKILL)
    until(lambda: job.over)
    usage = dispatcher.store.get(job.job_id).telemetry["usage"]
    assert usage["gpu"] == 23
    assert usage["memory"] > 1 << 20
    assert dispatcher.history(job.job_id)["samples"]
    samples: list[dict[str, Any]] = []
    watch = dispatcher.watch("here", samples.append)
    until(lambda: samples)
    assert samples[-1]["queue"] == []  # what the dead agent noted is old
    watch.close()


def test_a_short_job_has_no_usage(dispatcher: Dispatcher) -> None:
    job = run(dispatcher, "1 + 1")
    assert job.wait(60)
    assert dispatcher.store.get(job.job_id).telemetry == {}
    assert dispatcher.history(job.job_id) == {"samples": [], "words": ""}


def test_what_is_not_there_is_said(dispatcher: Dispatcher) -> None:
    with pytest.raises(ConfigError, match="no target"):
        dispatcher.watch("nowhere", lambda sample: None)
    with pytest.raises(UnknownJob):
        dispatcher.history("nothing")
