"""Disks that are full, files that are torn, users that are not us: nothing journaled before is lost, nobody gets in."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lepton_jupyter.agent.journal import Journal
from lepton_jupyter.errors import HostStorage, KernelDied
from lepton_jupyter.job import JobState
from tests.fakes.sshd import Sshd
from tests.faults._road import Client, agents, counting_cell, end_kernels, far, finish, text, until
from tests.faults.test_hosts import program

ROOT = os.geteuid() == 0
#: Which full disk can be made is known when tests are collected, and stands in the test's name.
FULL = "a small disk" if ROOT else "a limit on file sizes"
OTHER_USER = 65534


@pytest.fixture
def small(server: Sshd, tmp_path: Path) -> Iterator[dict[str, object]]:
    """Options of a target whose journals may have little more than a megabyte."""
    place = tmp_path / "place"
    if not ROOT:
        python = program(tmp_path / "python", "ulimit -f 1000", f'exec {sys.executable} "$@"')
        yield far(server, place, python=str(python))
        return
    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "none", str(root)], check=True)
    yield far(server, place, root=str(root))
    end_kernels(root)
    until(lambda: not agents(root), "the agents on the small disk are gone")
    subprocess.run(["umount", "--lazy", str(root)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", [FULL])
def test_a_full_disk_fails_the_job_with_that_word_and_keeps_what_was_written(
    how: str, small: dict[str, object], tmp_path: Path
) -> None:
    client = Client(tmp_path / "client", {"far": small})
    code = "for n in range(100_000): print(f'line {n:05}' + 'x' * 2000, flush=True)"
    run, view = client.run(code)
    finish(run)
    assert isinstance(run.error, HostStorage), run.error
    assert "the journal of the job cannot be written" in run.error.message
    assert "outputs from here on were not kept" in run.error.message
    if ROOT:
        assert "No space left on device" in run.error.message
        assert "Free disk space" in run.error.hint
    assert run.error.hint
    assert client.job(run).state is JobState.FAILED
    lines = text(view.outputs).splitlines()
    assert len(lines) > 100
    assert lines == [f"line {n:05}" + "x" * 2000 for n in range(len(lines))]
    assert [event.seq for event in view.events] == list(range(1, len(view.events) + 1))
    again, _ = client.attach(run.job_id)
    finish(again)
    assert isinstance(again.error, HostStorage), "whoever comes later is told the same"
    # The kernel lives: with room again, the next cell runs on it.
    root = Path(str(small["root"]))
    shutil.rmtree(root / "jobs" / run.job_id)
    if ROOT:
        until(lambda: shutil.disk_usage(root).free > 1 << 20, "the agent lets go of the journal")
    assert text(client.done("print(n < 99_999)").outputs) == "True\n"
    client.close()


@pytest.mark.slow
def test_no_room_to_begin_a_job(server: Sshd, tmp_path: Path) -> None:
    place = tmp_path / "place"
    client = Client(tmp_path / "client", {"far": far(server, place)})
    client.done("print('first')")
    jobs = server.root / "jobs"
    shutil.move(jobs, server.root / "moved")
    jobs.touch()
    with pytest.raises(HostStorage, match="the journal of the job cannot be written") as caught:
        client.run("print('never')")
    assert caught.value.hint
    jobs.unlink()
    shutil.move(server.root / "moved", jobs)
    assert text(client.done("print('third')").outputs) == "third\n"
    client.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("damage", ["torn", "garbage", "flipped"])
def test_a_damaged_end_of_a_journal_is_dropped_and_said(damage: str, server: Sshd, tmp_path: Path) -> None:
    place = tmp_path / "place"
    client = Client(tmp_path / "client", {"far": far(server, place)})
    run, view = client.run(counting_cell(400, gate=300))
    until(lambda: "line 00300" in text(view.outputs), "line 300 is shown")
    client.close()
    end_kernels(server.root)
    until(lambda: not agents(server.root), "the agent is gone")
    (path,) = server.root.glob("jobs/*/journal")
    whole, size = path.read_bytes(), path.stat().st_size
    if damage == "torn":
        os.truncate(path, size - 3)
    elif damage == "garbage":
        path.write_bytes(whole + os.urandom(100))
    else:
        path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
    left = Journal(str(path), run.job_id, threading.Condition())
    kept = len(view.events) - (damage != "garbage")
    assert left.last == kept
    assert left.torn > 0

    after = Client(tmp_path / "client", {"far": far(server, place)})
    again, seen = after.attach(run.job_id)
    finish(again)
    assert isinstance(again.error, KernelDied)
    assert "incomplete" in again.error.message, "the loss is said"
    assert seen.events[:-1] == view.events[:kept]
    assert seen.events[-1].seq == kept + 1
    after.close()


@pytest.mark.slow
def test_nothing_on_the_host_is_open_to_other_users(server: Sshd, tmp_path: Path) -> None:
    place = tmp_path / "place"
    tmp_path.chmod(0o755)
    client = Client(tmp_path / "client", {"far": far(server, place)})
    client.done("print('secret')")
    seen = []
    sockets = socket_folder(server)
    for path in [server.root, *server.root.rglob("*"), sockets, *sockets.iterdir()]:
        mode = path.lstat()
        seen.append(path.name)
        assert stat.S_IMODE(mode.st_mode) & 0o077 == 0, f"{path} has mode {stat.S_IMODE(mode.st_mode):o}"
        assert mode.st_uid == os.geteuid()
    assert {"agent.sock", "journal", "alive", "connection.json", "k-1", "k-2", "k-3", "k-4", "k-5"} <= set(seen)
    client.close()


def socket_folder(server: Sshd) -> Path:
    """Where the sockets of the one kernel are: elsewhere when the root's path is too long for a socket."""
    (about,) = server.root.glob("kernels/*/kernel.json")
    return Path(json.loads(about.read_text())["sockets"])


TRY = """
import os, socket, sys
os.setgroups([]); os.setgid({user}); os.setuid({user})
for path in sys.argv[1:]:
    try:
        if path.endswith(".sock"):
            socket.socket(socket.AF_UNIX).connect(path)
        else:
            open(path).read()
    except PermissionError:
        continue
    print("got in:", path)
"""


if ROOT:  # nobody else can become another user; the modes, which keep them out, are tested above for all

    @pytest.mark.slow
    def test_another_user_gets_neither_at_the_journal_nor_at_the_agent(server: Sshd, tmp_path: Path) -> None:
        """With every folder above ours open, and ours and its files as we made them."""
        client = Client(tmp_path / "client", {"far": far(server, tmp_path / "place")})
        client.done("print('secret')")
        (journal,) = server.root.glob("jobs/*/journal")
        sock = socket_folder(server) / "agent.sock"
        for folder in list(server.root.parents)[:-2]:
            folder.chmod(folder.stat().st_mode | 0o755)
        done = subprocess.run(
            ["python3", "-c", TRY.format(user=OTHER_USER), str(journal), str(sock)], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        client.close()

    @pytest.mark.slow
    def test_the_agent_turns_another_user_away_even_where_the_folder_is_open(server: Sshd, tmp_path: Path) -> None:
        client = Client(tmp_path / "client", {"far": far(server, tmp_path / "place")})
        client.done("print('secret')")
        sock = socket_folder(server) / "agent.sock"
        for path in [sock, *list(sock.parents)[:-2]]:
            path.chmod(0o777)
        ask = (
            "import os, socket, sys\n"
            f"os.setgroups([]); os.setgid({OTHER_USER}); os.setuid({OTHER_USER})\n"
            "end = socket.socket(socket.AF_UNIX); end.settimeout(20); end.connect(sys.argv[1])\n"
            "print(end.recv(10))\n"
        )
        done = subprocess.run(["python3", "-c", ask, str(sock)], capture_output=True, text=True)
        assert done.stdout == "b''\n", done.stderr
        with socket.socket(socket.AF_UNIX) as ours:
            ours.connect(str(sock))  # we are let in still
        client.close()
