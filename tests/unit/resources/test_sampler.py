"""One look at this host, with real processes; and the thread that decides when to look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lepton_jupyter.agent.history import History, answer
from lepton_jupyter.agent.machine import Machine, _Proc, _Psutil, cores
from lepton_jupyter.agent.processes import MARKER
from lepton_jupyter.agent.resources import Sampler, note_path, running_on
from lepton_jupyter.agent.sampling import Running, Sampling
from lepton_jupyter.agent.storage import Alive, kernel_folder, private_folder
from tests.unit.resources.conftest import Install

BURN = "import time\nprint('on', flush=True)\nwhile True: sum(range(10000))"
REST = "import time\nblock = bytearray(50 << 20)\nprint('on', flush=True)\ntime.sleep(600)"
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Processes that carry a kernel's mark."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(code: str, kernel: str) -> subprocess.Popen[bytes]:
        environ = {**os.environ, MARKER: kernel}
        process = subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def root(tmp_path: Path) -> str:
    path = str(tmp_path / "root")
    for name in ("kernel1", "kernel2"):
        private_folder(kernel_folder(path, name))
    return path


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("make", [_Psutil, _Proc])
def test_the_counters_of_this_machine(make: Callable[[], Machine], start: Start) -> None:
    machine = make()
    busy, everything = machine.cpu()
    burner = start(BURN, "kernel1")
    before = machine.process(burner.pid)
    time.sleep(1.0)
    after, later = machine.process(burner.pid), machine.cpu()
    assert before is not None
    assert after is not None
    assert before.began == after.began
    assert 0 < after.cpu - before.cpu <= 1.5
    assert 0 < later[0] - busy <= later[1] - everything
    used, total = machine.memory()
    assert total == psutil.virtual_memory().total
    assert 0 < used < total
    assert after.memory == pytest.approx(psutil.Process(burner.pid).memory_info().rss, rel=0.2)
    burner.kill()
    burner.wait()
    assert machine.process(burner.pid) is None


def test_a_look_without_a_kernel(root: str, tools: Install) -> None:
    sample = Sampler(root).sample()
    assert json.loads(json.dumps(sample, allow_nan=False)) == sample
    assert sample["cpu"]["count"] == cores() >= 1
    assert 0 <= sample["cpu"]["percent"] <= 100
    assert sample["disk"]["path"] == root
    assert 0 < sample["disk"]["used"] < sample["disk"]["total"]
    assert (sample["devices"], sample["kernel"]) == ([], None)
    assert sample["load"] >= 0


def test_what_a_kernels_processes_use(root: str, start: Start, tools: Install) -> None:
    sampler = Sampler(root, "kernel1")
    kernel, worker, _ = start(REST, "kernel1"), start(BURN, "kernel1"), start(BURN, "kernel2")
    first = sampler.sample(kernel.pid, "job2")["kernel"]
    assert first["processes"] == 2
    assert first["memory"] > 50 << 20
    burning = psutil.Process(worker.pid)
    sampler.sample(kernel.pid, "job2")
    burning.cpu_percent()
    time.sleep(2.0)
    rate = sampler.sample(kernel.pid, "job2")["kernel"]["cpu"]
    assert rate == pytest.approx(burning.cpu_percent(), abs=20)  # percent of a core; the other kernel's is not in it
    assert rate > 1
    worker.kill()
    worker.wait()
    until(lambda: sampler.sample(kernel.pid, "job2")["kernel"]["processes"] == 1)


def test_who_holds_a_gpu(root: str, start: Start, tools: Install) -> None:
    """By the mark in a process's environment: ours, another kernel's of ours, anybody else's."""
    ours, theirs, plain = start(REST, "kernel1"), start(REST, "kernel2"), start(REST, "")
    rows = [f"GPU-1, {pid}, /usr/bin/python, 100" for pid in (ours.pid, theirs.pid, plain.pid, 2**22)]
    says = {"--query-gpu": "0, GPU-1, T4, 5, 400, 15000, 40, 30", "--query-compute-apps": "\n".join(rows)}
    tools("nvidia-smi", says)
    Path(note_path(root, "kernel2")).write_text('{"job": "job9", "name": "other"}')
    lock = Alive(kernel_folder(root, "kernel2"))
    assert lock.take()
    sample = Sampler(root, "kernel1").sample(ours.pid, "job2")
    holders = sample["devices"][0]["processes"]
    assert [(holder["pid"], holder["job"], holder["memory"]) for holder in holders] == [
        (ours.pid, "job2", 100 << 20),
        (theirs.pid, "job9", 100 << 20),
        (plain.pid, "", 100 << 20),
        (2**22, "", 100 << 20),
    ]
    assert holders[0]["user"] == psutil.Process().username()
    assert sample["kernel"]["gpu_memory"] == 100 << 20
    assert running_on(root) == [{"job": "job9", "name": "other", "state": "RUNNING"}]
    lock.free()  # its agent was killed: what it noted is old
    assert running_on(root) == []


class Screen:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.samples: list[dict[str, Any]] = []

    def show(self, sample: dict[str, Any]) -> None:
        self.samples.append(sample)


def test_samples_come_as_often_as_somebody_looks(root: str, tools: Install) -> None:
    before = threading.active_count()
    sampling = Sampling(root, queue=lambda: [{"job": "job2", "name": "n", "state": "QUEUED"}])
    assert threading.active_count() == before  # nobody looks, so nothing runs
    quick, slow = Screen(), Screen()
    sampling.watch(quick, 0.2)
    sampling.watch(slow, 3600)
    until(lambda: len(quick.samples) >= 5)
    assert len(slow.samples) == 1
    assert quick.samples[-1]["queue"] == [{"job": "job2", "name": "n", "state": "QUEUED"}]
    sampling.watch(quick, 0)
    time.sleep(0.5)
    count = len(quick.samples)
    time.sleep(1.0)
    assert len(quick.samples) == count
    sampling.watch(quick, 0.2)
    until(lambda: len(quick.samples) > count)
    sampling.watch(quick, 0)
    sampling.watch(slow, 0)


def test_a_job_that_runs_is_looked_at_and_noted(root: str, tools: Install, start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "root" / "jobs" / "job2"
    folder.mkdir(parents=True)
    kernel = start(BURN, "kernel1")
    lock = Alive(kernel_folder(root, "kernel1"))
    assert lock.take()
    running: list[Running] = [Running("job2", "train", time.monotonic(), History(str(folder)))]
    sampling = Sampling(root, "kernel1", lambda: running[0] if running else None, kernel_pid=lambda: kernel.pid)
    sampling.wake()
    until(lambda: answer(root, "job2")["samples"])
    (first,) = answer(root, "job2")["samples"]
    assert first["kernel"]["processes"] == 1
    until(lambda: running_on(root) == [{"job": "job2", "name": "train", "state": "RUNNING"}])
    running.clear()
    sampling.wake()
    until(lambda: running_on(root) == [])
    assert not os.path.exists(note_path(root, "kernel1"))
    lock.free()


def test_a_job_that_is_over_at_once_is_not_looked_at(root: str, tools: Install, tmp_path: Path) -> None:
    history = History(str(tmp_path))
    running = [Running("job2", "", time.monotonic(), history)]
    sampling = Sampling(root, "kernel1", lambda: running[0] if running else None)
    sampling.wake()
    time.sleep(0.3)
    running.clear()
    time.sleep(1.5)
    assert history.usage() == {}


def test_a_host_that_cannot_be_looked_at_stops_nothing(
    root: str, monkeypatch: pytest.MonkeyPatch, tools: Install
) -> None:
    screen, sampling = Screen(), Sampling(root)
    path = os.environ["PATH"]
    broken = Path(path) / "nvidia-smi"
    broken.write_text("no program")
    broken.chmod(0o755)
    sampling.watch(screen, 0.2)
    until(lambda: len(screen.samples) > 2)
    assert screen.samples[-1]["devices"] == []
    sampling.watch(screen, 0)
