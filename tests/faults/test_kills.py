"""Processes that are killed while a cell runs: what came before is whole, what cannot go on says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lepton_jupyter.agent.storage import Alive
from lepton_jupyter.errors import KernelDied
from lepton_jupyter.job import JobState
from tests.fakes.proxy import MakeProxy
from tests.fakes.sshd import Sshd
from tests.faults._road import (
    agents,
    attaches,
    check_account,
    counting_cell,
    end_kernels,
    finish,
    kernel_of,
    text,
    until,
)
from tests.faults.conftest import OpenClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LINES = 3000
MARKS = (300, 900, 1500, 2100)
GATE = 2700


def test_killed_connections_and_attach_processes_cost_no_output(
    server: Sshd, open_client: OpenClient, place: Path
) -> None:
    client = open_client(server)
    cell = counting_cell(LINES, marks=MARKS, gate=GATE)
    run, view = client.run(cell)
    for number, mark in enumerate(MARKS):
        until((place / f"at-{mark}").exists, f"line {mark} is reached")
        if number % 2:
            assert server.kill_connections() > 0
        else:
            for process in until(lambda: attaches(server.root), "an attach process runs"):
                process.kill()
    (place / "go").touch()
    finish(run)
    assert run.error is None
    check_account(view.events, LINES)
    assert view.outputs == client.done(cell).outputs


def test_a_killed_agent_takes_its_kernel_along_and_the_job_is_said_to_be_over(
    server: Sshd, open_client: OpenClient, place: Path
) -> None:
    client = open_client(server)
    run, view = client.run(counting_cell(LINES, marks=(500,), gate=1000))
    waiting, _ = client.run("print('never')")
    until((place / "at-500").exists, "line 500 is reached")
    until(lambda: "line 01000" in text(view.outputs), "line 1000 is shown")
    (agent,) = agents(server.root)
    kernel = kernel_of(agent)
    agent.kill()
    finish(run)
    finish(waiting)
    for ended in (run, waiting):
        assert isinstance(ended.error, KernelDied)
        assert "agent on the host is gone" in ended.error.message
        assert "Run the cell again" in ended.error.hint
        assert client.job(ended).state is JobState.FAILED
    assert [event.seq for event in view.events] == list(range(1, len(view.events) + 1))
    assert text(view.outputs) == "".join(f"line {n:05}\n" for n in range(1001))
    until(lambda: not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE, "the kernel ends too", 20)
    # The next cell gets a new kernel, and is told what that means.
    again, view = client.run("print('alive')")
    finish(again)
    assert again.error is None
    assert "started a new one" in again.note
    assert text(view.outputs) == "alive\n"


def test_the_sockets_of_a_killed_agent_are_gone_with_the_next_launch(
    server: Sshd, open_client: OpenClient, tmp_path: Path
) -> None:
    root = tmp_path / ("l" * 150)  # too long for a socket, so these are in a short folder elsewhere
    client = open_client(server, root=str(root))
    client.done("1", kernel="first")
    client.done("1", kernel="second")
    (first, second), folders = agents(root), list(root.glob("kernels/*"))
    sockets = {folder: Path(json.loads((folder / "kernel.json").read_text())["sockets"]) for folder in folders}
    first.kill()
    first.wait(20)
    dead = next(folder for folder in folders if not Alive(str(folder)).held())
    (living,) = set(folders) - {dead}
    for folder in folders:
        os.utime(folder / "alive", (0, 0))  # long after it began
    client.done("1", kernel="third")
    assert not sockets[dead].exists()
    assert sockets[living].exists()
    assert second.is_running()
    assert client.done("1", kernel="second").events
    end_kernels(root)


def test_a_notebook_kernel_killed_and_attached_again_from_another_process(
    sshd: Sshd, tmp_path: Path, repository: Path, open_client: OpenClient, place: Path
) -> None:
    client = open_client(sshd)
    cell = counting_cell(LINES, marks=MARKS, gate=GATE)
    (tmp_path / "cell.py").write_text(cell)
    program = Path(__file__).with_name("_client.py")
    command = [sys.executable, str(program), str(client.config), str(client.store_path), "far"]
    environ = {**os.environ, "PYTHONPATH": str(repository)}
    with subprocess.Popen(
        [*command, str(tmp_path / "cell.py")], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        job_id = process.stdout.readline().strip()
        assert job_id, process.stderr.read()
        until((place / f"at-{MARKS[0]}").exists, f"line {MARKS[0]} is reached")
        process.kill()
        assert process.stdout.read() == ""
    run, view = client.attach(job_id[:6])
    (place / "go").touch()
    finish(run)
    assert run.error is None
    check_account(view.events, LINES)
    assert view.outputs == client.done(cell).outputs
    until(
        lambda: client.job(run).state is JobState.COMPLETED,
        "the store learns it once the dead process's lease lapsed",
        60,
    )
    assert client.job(run).ended is not None


def test_two_clients_see_everything_and_cuts_of_one_do_not_touch_the_other(
    sshd: Sshd, make_proxy: MakeProxy, open_client: OpenClient, place: Path
) -> None:
    proxy = make_proxy(sshd.address, sshd.port)
    first = open_client(sshd, "first")
    second = open_client(sshd, "second", on="elsewhere", folder=place / "second", port=proxy.port)
    run, view = first.run(counting_cell(LINES, marks=MARKS, gate=GATE))
    until((place / f"at-{MARKS[0]}").exists, f"line {MARKS[0]} is reached")
    other, other_view = second.attach(run.job_id, on="elsewhere")
    for mark, fault in zip(MARKS[1:], (proxy.cut, proxy.half_close, lambda: proxy.stall_for(5)), strict=True):
        until((place / f"at-{mark}").exists, f"line {mark} is reached")
        fault()
    (place / "go").touch()
    for ended in (run, other):
        finish(ended)
        assert ended.error is None
    assert first.dispatcher.store.get(run.job_id).state is JobState.COMPLETED
    assert second.dispatcher.store.get(run.job_id).state is JobState.COMPLETED
    check_account(view.events, LINES)
    assert other_view.events == view.events
    assert not any("no connection" in notice for notice in view.notices)


def test_a_host_rebooted_while_nobody_was_attached(server: Sshd, open_client: OpenClient, place: Path) -> None:
    before = open_client(server)
    run, _ = before.run(counting_cell(LINES, marks=(500,), gate=1000))
    until((place / "at-500").exists, "line 500 is reached")
    before.close()
    (journal,) = server.root.glob("jobs/*/journal")
    until(lambda: b"line 01000" in journal.read_bytes(), "line 1000 is in the journal")
    server.stop()
    end_kernels(server.root)
    server.start()
    after = open_client(server)
    again, view = after.attach(run.job_id)
    finish(again)
    assert isinstance(again.error, KernelDied)
    assert "rebooted" in again.error.message
    assert "outputs up to here are complete" in again.error.message
    assert [event.seq for event in view.events] == list(range(1, len(view.events) + 1))
    assert text(view.outputs) == "".join(f"line {n:05}\n" for n in range(1001))
    # A second look shows the same, and the end once.
    assert after.dispatcher.events(run.job_id) == view.events
