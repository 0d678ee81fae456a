"""Kernels that die of memory, fall asleep, or are asked by twenty at once."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from lepton_jupyter.errors import KernelDied
from lepton_jupyter.job import JobSpec, JobState
from tests.fakes.sshd import Sshd
from tests.faults._road import Recorder, agents, finish, in_threads, kernel_of, text, until
from tests.faults.conftest import OpenClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

LIMIT = 400 << 20


def memory_group() -> Path | None:
    """A new memory cgroup (version 1 or 2), or None where this user may make none."""
    for folder, limit in (("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")):
        group = Path(folder) / f"test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists() and os.access(group / limit, os.W_OK):  # else it is a plain folder
            (group / limit).write_text(str(LIMIT))
            return group
        group.rmdir()
    return None


def _can_limit() -> bool:
    group = memory_group()
    if group is not None:
        group.rmdir()
    return group is not None


#: A real out-of-memory kill needs a memory cgroup; without the right to make one, the signal alone is tested.
HOW = "the kernel's out-of-memory killer" if _can_limit() else "SIGKILL, for want of a memory cgroup"


@pytest.mark.parametrize("how", [HOW])
def test_a_kernel_killed_for_its_memory(how: str, server: Sshd, open_client: OpenClient) -> None:
    client = open_client(server)
    client.done("print('warm')")
    (agent,) = agents(server.root)
    kernel = kernel_of(agent)
    group = memory_group()
    if group is not None:
        (group / "cgroup.procs").write_text(str(kernel.pid))
    run, view = client.run(
        "import time\nfor n in range(1000): print('line', n, flush=True)\n"
        "eaten = []\n"
        "while True: eaten.append(bytearray(b'x' * (10 << 20))) if len(eaten) < 100 else time.sleep(1)"
    )
    if group is None:
        until(lambda: "line 999\n" in text(view.outputs), "all lines are shown")
        os.kill(kernel.pid, signal.SIGKILL)
    finish(run)
    if group is not None:
        until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
        group.rmdir()
    assert isinstance(run.error, KernelDied), run.error
    assert "ran out of memory" in run.error.message
    if group is not None:
        assert "its kernel killed the process" in run.error.message
    assert "Run the cell again" in run.error.hint
    assert client.job(run).state is JobState.FAILED
    assert text(view.outputs) == "".join(f"line {n}\n" for n in range(1000))
    # The agent lives on: the next cell has a new kernel.
    assert text(client.done("print('again')").outputs) == "again\n"


def test_a_kernel_idle_too_long_stops_and_the_next_cell_says_so(server: Sshd, open_client: OpenClient) -> None:
    client = open_client(server, idle_stop="3s")
    run, view = client.run("import time\nx = 1\ntime.sleep(6)\nprint('worked longer than that')")
    finish(run)
    assert run.error is None, "a busy kernel is not idle"
    assert run.note == ""
    until(lambda: not agents(server.root), "the idle kernel stops")
    later, view = client.run("print('x' in globals())")
    finish(later)
    assert later.error is None
    assert text(view.outputs) == "False\n"
    assert "idle too long" in later.note
    assert "without the variables of earlier cells" in later.note
    # What the stopped kernel ran can be seen still.
    assert text(Recorder.of(client.dispatcher.events(run.job_id)).outputs) == "worked longer than that\n"


def test_twenty_jobs_submitted_at_once_run_one_after_another(sshd: Sshd, open_client: OpenClient) -> None:
    client = open_client(sshd)
    client.done("order = []")
    barrier = threading.Barrier(20)

    def submit(number: int) -> tuple[int, float, str, Recorder]:
        view = Recorder()
        spec = JobSpec(code=f"order.append({number})\nprint(len(order), order[-1])", target="far", kernel="k")
        barrier.wait()
        run = client.dispatcher.run(spec, lambda run: view)
        finish(run)
        assert run.error is None
        return number, view.events[0].fields["time"], run.job_id, view

    done = in_threads(*(lambda number=number: submit(number) for number in range(20)))
    assert len({job_id for _, _, job_id, _ in done}) == 20
    queued = sorted(done, key=lambda one: one[1])
    assert [text(view.outputs) for *_, view in queued] == [f"{n} {one[0]}\n" for n, one in enumerate(queued, 1)]
    jobs = [job for job in client.dispatcher.store.list() if job.job_id in {one[2] for one in done}]
    assert {job.state for job in jobs} == {JobState.COMPLETED}
    started = sorted(job.started or 0 for job in jobs)
    ended = sorted(job.ended or 0 for job in jobs)
    assert all(end <= start for end, start in zip(ended, started[1:], strict=False)), "never two at a time"


def test_kernels_of_different_names_run_at_the_same_time(sshd: Sshd, open_client: OpenClient) -> None:
    client = open_client(sshd)
    wait = "import os, time\nopen('{mine}', 'w').close()\nwhile not os.path.exists('{other}'): time.sleep(0.05)\n"
    runs = [client.run(wait.format(mine=mine, other=other), kernel=mine)[0] for mine, other in ("ab", "ba")]
    for run in runs:
        finish(run)
        assert run.error is None
