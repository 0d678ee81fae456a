"""`%lepton_jobs`, `%lepton_attach`, `%lepton_logs`, `%lepton_cancel` and the command `lepton`, on this machine and over
a real sshd: jobs are found, shown whole, followed and stopped from any notebook, kernel and terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lepton_jupyter.job import Job, JobState
from lepton_jupyter.store import JobStore
from tests.fakes.notebook import LiveNotebook
from tests.fakes.sshd import MakeSshd, Sshd

Open = Callable[[], LiveNotebook]
COUNT = "import time\nfor n in range({}):\n    print('line', n, flush=True)\n    time.sleep({})\n"


@pytest.fixture(params=["local", "gpu1"])
def on(request: pytest.FixtureRequest, open_notebook: Open, tmp_path: Path) -> str:
    """A target: this machine, or a host behind sshd."""
    if request.param == "gpu1":
        sshd: Sshd = request.getfixturevalue("sshd")
        (tmp_path / "lepton.toml").write_text(gpu1(sshd))
    return str(request.param)


def gpu1(sshd: Sshd) -> str:
    return (
        f'[targets.gpu1]\nkind = "ssh"\nhost = "{sshd.alias}"\nssh_config = "{sshd.config}"\n'
        f'root = "{sshd.root}"\npython = "{sys.executable}"\n'
    )


def newest(tmp_path: Path) -> Job:
    store = JobStore(tmp_path / "state" / "jobs.db")
    try:
        return store.list(limit=1)[0]
    finally:
        store.close()


def reaches(tmp_path: Path, state: JobState, seconds: float = 20.0) -> Job:
    """The newest job, once it has that state."""
    deadline = time.monotonic() + seconds
    while (job := newest(tmp_path)).state is not state:
        assert time.monotonic() < deadline, f"{job.state} instead of {state}"
        time.sleep(0.05)
    return job


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and waits for its parent's attention does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def lepton(*words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lepton_jupyter.cli", *words]
    return subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout, check=False
    )


def test_jobs_are_listed_chosen_and_counted(notebook: LiveNotebook, tmp_path: Path) -> None:
    assert "No jobs yet" in notebook.text("%lepton_jobs")
    assert "this notebook has sent no job yet" in notebook.failure("%lepton_logs last")
    notebook.run("%%lepton_train --name first\nprint(6 * 7)")
    assert "42" in notebook.text("%lepton_logs last")
    notebook.failure("%%lepton_train --name second\nraise ValueError('broken')")
    table = notebook.text("%lepton_jobs")
    assert re.search(r"COMPLETED  first +local", table)
    assert re.search(r"FAILED +second +local .*ValueError: broken", table)
    assert "second" not in notebook.text("%lepton_jobs --state completed,running")
    assert "No jobs" in notebook.text("%lepton_jobs --on elsewhere")
    assert "Did you mean 'failed'?" in notebook.failure("%lepton_jobs --state faild")
    assert "unrecognized arguments: --nope" in notebook.failure("%lepton_jobs --nope")
    for _ in range(20):
        notebook.run("%%lepton_train\n2")
    assert "20 of 22 jobs; --all shows every one." in notebook.text("%lepton_jobs")
    assert "first" in notebook.text("%lepton_jobs --all")


HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m",
    "lines": "one\ntwo",
    "tag": "<script>alert(1)</script>",
    "quote": 'it\'s "so"',
    "dashes": "-rf --all",
    "wide": "学習 🚀",
}


def test_hostile_titles_are_text_everywhere(notebook: LiveNotebook) -> None:
    for title in HOSTILE.values():
        notebook.run(
            f"get_ipython().run_cell_magic('lepton_train', '--name ' + __import__('shlex').quote({title!r}), '1')"
        )
    table = notebook.text("%lepton_jobs")
    assert len(table.splitlines()) == 2 + len(HOSTILE)
    html = notebook.html("%lepton_jobs")
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    listed = lepton("jobs").stdout
    for text in (table, listed, html):
        assert "\x1b" not in text
        assert "学習 🚀" in text
    assert 'it\'s "so"' in listed
    assert "one two" in listed


def test_logs_are_the_outputs_so_far_as_text(notebook: LiveNotebook, on: str, tmp_path: Path) -> None:
    notebook.failure(
        f"%%lepton_train --on {on}\n"
        "import sys\nfrom IPython.display import HTML, Image, display\n"
        "print('\\x1b[31mred\\x1b[0m \\x1b]0;title\\x07plain')\nprint('10%\\r100%')\n"
        "print('warning', file=sys.stderr)\n"
        "display({'image/png': 'A' * 4000, 'text/plain': '<Figure>'}, raw=True)\n"
        "display(HTML('<b>bold</b>'))\n1/0"
    )
    job = newest(tmp_path).job_id
    text = notebook.text(f"%lepton_logs {job[:6]}")
    assert text.startswith("\x1b[31mred\x1b[0m plain\n100%\nwarning\n<Figure> [image/png, 4 KiB]\n")
    assert "ZeroDivisionError" in text
    assert "\x1b]" not in text
    printed = lepton("logs", job)
    assert printed.returncode == 0
    assert "\x1b" not in printed.stdout
    assert printed.stdout.startswith("red plain\n100%\nwarning\n<Figure> [image/png, 4 KiB]\n")


def test_logs_of_a_running_job_do_not_wait_for_it(notebook: LiveNotebook, on: str, tmp_path: Path) -> None:
    notebook.run(f"%%lepton_train --detach --on {on}\nprint('begun', flush=True)\nimport time; time.sleep(600)")
    job = reaches(tmp_path, JobState.RUNNING).job_id
    deadline = time.monotonic() + 20
    while "begun" not in notebook.text(f"%lepton_logs {job}"):
        assert time.monotonic() < deadline
    assert newest(tmp_path).state is JobState.RUNNING
    assert "stopped" in notebook.text(f"%lepton_cancel {job}")


def test_another_notebook_attaches_and_sees_all_once(open_notebook: Open, on: str, tmp_path: Path) -> None:
    first, second = open_notebook(), open_notebook()
    first.run(f"%%lepton_train --detach --on {on}\n{COUNT.format(40, 0.05)}")
    job = reaches(tmp_path, JobState.RUNNING).job_id
    whole = "".join(f"line {n}\n" for n in range(40))
    assert second.text(f"%lepton_attach {job}") == whole
    assert second.text(f"%lepton_attach {job[:5]}") == whole  # as often as one likes
    assert reaches(tmp_path, JobState.COMPLETED).job_id == job
    assert lepton("logs", job).stdout == whole


def test_looking_at_a_job_leaves_its_kernel_alone(open_notebook: Open, on: str, tmp_path: Path) -> None:
    first, second = open_notebook(), open_notebook()
    first.run(f"%%lepton_train --on {on}\nkept = 41")
    job = newest(tmp_path).job_id
    assert lepton("attach", job).returncode == 0
    assert lepton("logs", job).returncode == 0
    second.run(f"%lepton_attach {job}")
    second.close()
    assert first.text(f"%%lepton_train --on {on}\nkept + 1") == "42"


def test_any_number_of_visits_fits_through_an_sshd_of_ten_channels(
    notebook: LiveNotebook, make_sshd: MakeSshd, tmp_path: Path
) -> None:
    sshd = make_sshd("MaxSessions 10")
    (tmp_path / "lepton.toml").write_text(gpu1(sshd))
    notebook.run("%%lepton_train --on gpu1\nprint('seen')")
    job = newest(tmp_path).job_id
    assert [notebook.text(f"%lepton_attach {job}") for _ in range(12)] == ["seen\n"] * 12
    assert [notebook.text(f"%lepton_logs {job}") for _ in range(12)] == ["seen\n"] * 12


def test_a_failed_job_fails_the_cell_that_attaches(notebook: LiveNotebook, on: str, tmp_path: Path) -> None:
    shown = notebook.failure(f"%%lepton_train --on {on}\nraise KeyError('epoch')")
    job = newest(tmp_path).job_id
    assert notebook.failure(f"%lepton_attach {job}") == shown
    assert shown.count("KeyError") == 3  # head, line of code, last line: shown once


def test_a_job_of_another_machine_is_found_on_its_host(notebook: LiveNotebook, on: str, tmp_path: Path) -> None:
    notebook.run(f"%%lepton_train --on {on} --name mine\nprint('from afar')")
    job = newest(tmp_path).job_id
    here = tmp_path / "state"
    elsewhere = {**os.environ, "LEPTON_HOME": str(tmp_path / "other")}
    if on == "local":  # another machine would reach this one's agents by their folder
        (tmp_path / "lepton.toml").write_text(f'[targets.local]\nroot = "{here / "host"}"\n')
    command = [sys.executable, "-m", "lepton_jupyter.cli", "attach", job[:6], "--on", on]
    done = subprocess.run(command, env=elsewhere, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "from afar\n")
    listed = subprocess.run(
        [*command[:3], "jobs"], env=elsewhere, capture_output=True, text=True, timeout=60, check=True
    )
    assert re.search(rf"{job}  COMPLETED +mine +{on}", listed.stdout)


def test_cancel_ends_every_process_of_the_job(notebook: LiveNotebook, on: str, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    notebook.run(
        f"%%lepton_train --detach --on {on}\nimport os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\ntime.sleep(600)"
    )
    job = reaches(tmp_path, JobState.RUNNING).job_id
    deadline = time.monotonic() + 20
    while not pids.exists() or len(pids.read_text().split()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    said = notebook.text(f"%lepton_cancel {job[:7]}")
    assert re.search(rf"job {job} on {on}: .*2 processes ended", said)
    assert not [pid for pid in pids.read_text().split() if alive(int(pid))]
    assert reaches(tmp_path, JobState.CANCELLED).job_id == job
    assert "had ended already (cancelled)" in notebook.text(f"%lepton_cancel {job}")
    assert "cancelled" in notebook.failure(f"%lepton_attach {job}")
    assert lepton("cancel", job).returncode == 0
    assert lepton("attach", job).returncode == 1


@pytest.mark.parametrize("magic", ["attach", "logs", "cancel"])
def test_an_unknown_job_is_said(shared_notebook: LiveNotebook, magic: str) -> None:
    said = shared_notebook.failure(f"%lepton_{magic} zzzzzzzzzz")
    assert "there is no job 'zzzzzzzzzz'" in said
    assert "%lepton_jobs --all" in said
    assert "required: JOB" in shared_notebook.failure(f"%lepton_{magic}")
    assert "there is no job" in shared_notebook.failure(f"%lepton_{magic} -- '-rf'")


def test_every_magic_has_help_with_an_example(shared_notebook: LiveNotebook) -> None:
    for name in ("jobs", "attach", "logs", "cancel"):
        doc = shared_notebook.text(f"print(get_ipython().find_line_magic('lepton_{name}').__doc__)")
        assert "Example::" in doc
        assert doc.count(f"%lepton_{name}") >= 2


def in_a_terminal(*words: str) -> tuple[subprocess.Popen[bytes], int]:
    """The command `lepton` in a terminal of its own, and our end of that terminal."""
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "lepton_jupyter.cli", *words]
    process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, start_new_session=True)
    os.close(end)
    return process, terminal


def read_until(terminal: int, words: bytes | None) -> bytes:
    """What the terminal shows up to `words`, or (None) until its program ends."""
    out = b""
    while words is None or words not in out:
        try:
            out += os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end is closed
            assert words is None, out
            os.close(terminal)
            break
    return out


def test_a_question_is_answered_from_a_terminal(notebook: LiveNotebook, on: str, tmp_path: Path) -> None:
    notebook.run(f"%%lepton_train --detach --on {on}\nname = input('Who? ')\nprint('hello', name)")
    job = reaches(tmp_path, JobState.RUNNING).job_id
    process, terminal = in_a_terminal("attach", job)
    out = read_until(terminal, b"Who? ")
    os.write(terminal, "Zoë 🚀\n".encode())
    out += read_until(terminal, None)
    assert process.wait(10) == 0
    assert "hello Zoë 🚀" in out.decode()


def test_ctrl_c_leaves_an_attached_terminal_and_the_job_goes_on(
    notebook: LiveNotebook, on: str, tmp_path: Path
) -> None:
    notebook.run(f"%%lepton_train --detach --on {on}\n{COUNT.format(2000, 0.02)}")
    job = reaches(tmp_path, JobState.RUNNING).job_id
    process, terminal = in_a_terminal("attach", job)
    out = read_until(terminal, b"line 3")
    process.send_signal(signal.SIGINT)
    out += read_until(terminal, None)
    assert process.wait(10) == 130
    assert f"The job goes on. Again: lepton attach {job}" in out.decode()
    assert "Traceback" not in out.decode()
    assert newest(tmp_path).state is JobState.RUNNING
    assert lepton("cancel", job).returncode == 0
    assert reaches(tmp_path, JobState.CANCELLED).job_id == job


def test_two_followers_at_once_both_see_everything(open_notebook: Open, on: str, tmp_path: Path) -> None:
    first = open_notebook()
    first.run(f"%%lepton_train --detach --on {on}\n{COUNT.format(60, 0.03)}")
    job = reaches(tmp_path, JobState.RUNNING).job_id
    command = [sys.executable, "-m", "lepton_jupyter.cli", "attach", job]
    followers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    whole = "".join(f"line {n}\n" for n in range(60))
    assert [follower.communicate(timeout=60)[0] for follower in followers] == [whole, whole]
    assert [follower.returncode for follower in followers] == [0, 0]
