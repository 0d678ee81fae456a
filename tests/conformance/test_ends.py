"""How cells end before their end: the stop button, detaching, cancelling, a kernel that dies."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from tests.conformance.conftest import Notebook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LOOP = """
import time
def train():
    for step in range(100_000):
        print("step", step, flush=True)
        time.sleep(0.05)
try:
    train()
finally:
    print("cleaned up", flush=True)
"""


def test_the_stop_button_interrupts_the_cell(notebook: Notebook) -> None:
    """On a plain kernel and on every target: the real traceback, once, and the kernel and its variables live on."""
    notebook.run("kept = 41")
    cell = notebook.start(LOOP)
    cell.shows("step 3\n")
    notebook.end.interrupt()
    reply = cell.reply()
    assert reply["status"] == "error"
    errors = [output for output in cell.outputs() if output["output_type"] == "error"]
    assert [error["ename"] for error in errors] == ["KeyboardInterrupt"]
    assert "train()" in _plain("\n".join(errors[0]["traceback"]))
    assert "time.sleep(0.05)" in _plain("\n".join(errors[0]["traceback"]))
    assert cell.text().endswith("cleaned up\n")
    assert cell.text("stderr") == ""
    assert notebook.run("kept + 1").outputs()[0]["data"] == {"text/plain": "42"}


def test_the_stop_button_ends_a_question_and_a_shell_command(notebook: Notebook) -> None:
    cell = notebook.start("!echo started; sleep 1000")
    cell.shows("started")
    notebook.end.interrupt()
    cell.reply()
    assert notebook.run("print('next')").text() == "next\n"


def test_interrupted_twice_it_detaches(remote_notebook: Notebook) -> None:
    notebook = remote_notebook
    cell = notebook.start(
        "import time\n"
        "stubborn = time.monotonic()\n"
        "while time.monotonic() < stubborn + 8:\n"
        "    try:\n"
        "        print('working', flush=True)\n"
        "        time.sleep(0.2)\n"
        "    except KeyboardInterrupt:\n"
        "        print('not now', flush=True)\n"
        "print('end', flush=True)\n"
    )
    cell.shows("working\n")
    notebook.end.interrupt()
    cell.shows("not now\n")
    notebook.end.interrupt()
    reply = cell.reply()  # while the job runs
    assert reply["status"] == "ok"
    assert "end\n" not in cell.text()
    job_id = notebook.job_id()
    said = cell.text("stderr")
    assert f"detached: job {job_id} runs on" in said
    assert f"%lepton_attach {job_id}" in said
    assert f"%lepton_cancel {job_id}" in said
    other = notebook.end.run_well("print('another cell meanwhile')")
    cell.shows("end\n")  # in the same cell
    assert other.text() == "another cell meanwhile\n"
    attached = notebook.end.run_well(f"%lepton_attach {job_id}")
    assert attached.text() == cell.text()


def test_a_detached_job_keeps_its_cell_and_cancel_ends_its_whole_family(
    remote_notebook: Notebook, tmp_path: Path
) -> None:
    notebook = remote_notebook
    pids = tmp_path / "pids"
    cell = notebook.run(
        "import os, subprocess, sys, time\n"
        "nest = 'import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(1000)'\n"
        "child = subprocess.Popen([sys.executable, '-c', nest], stdout=open('escaped', 'w'))\n"
        "again = subprocess.Popen(['setsid', 'sh', '-c', 'trap \"\" TERM; sleep 1000 & wait'])\n"
        "while not open('escaped').read().strip(): time.sleep(0.01)\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}} {{again.pid}}')\n"
        "for n in range(100_000):\n"
        "    print('tick', n, flush=True)\n"
        "    time.sleep(0.05)\n",
        flags="--detach",
    )
    assert cell.reply()["status"] == "ok"
    cell.shows("tick 3\n")
    family = [psutil.Process(int(pid)) for pid in pids.read_text().split()]
    family += family[2].children()
    assert all(process.is_running() for process in family)
    cancelled = notebook.end.run_well(f"%lepton_cancel {notebook.job_id()}")
    assert not [process for process in family if _lives(process)]
    assert re.search(r"job \w+ on there: stopped: \d+ processes ended", cancelled.text())
    again = notebook.end.run_well(f"%lepton_cancel {notebook.job_id()}")
    assert "had ended already (cancelled)" in again.text()
    assert notebook.run("print('on a new kernel')").text() == "on a new kernel\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os\nos._exit(3)", "exit code 3"),
        ("import ctypes\nctypes.string_at(0)", r"segmentation fault \(SIGSEGV\)"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", r"it was killed \(SIGKILL\)"),
    ],
    ids=["os._exit", "segfault", "SIGKILL"],
)
def test_a_kernel_that_dies_says_why_and_the_next_cell_works(remote_notebook: Notebook, code: str, words: str) -> None:
    notebook = remote_notebook
    notebook.run("variable = 1")
    # The moment of rest: what a kernel hands to ZeroMQ in its last instant dies with it, on a plain kernel too.
    cell = notebook.run(f"import time\nprint('before', flush=True)\ntime.sleep(0.3)\n{code}")
    reply = cell.reply()
    assert reply["status"] == "error"
    assert reply["ename"] == "KernelDied"
    assert cell.text() == "before\n"
    (error,) = [output for output in cell.outputs() if output["output_type"] == "error"]
    shown = "\n".join(error["traceback"])
    assert re.search(words, shown)
    assert "Run the cell again: it starts a new kernel." in shown
    assert "Traceback (most recent call last)" not in shown  # of our own code
    assert notebook.run("'variable' in globals()").outputs()[0]["data"] == {"text/plain": "False"}


def test_exit_ends_the_remote_kernel_and_not_the_notebooks(remote_notebook: Notebook) -> None:
    notebook = remote_notebook
    cell = notebook.run("variable = 1\nprint('before')\nexit()")
    assert cell.reply()["status"] == "ok"
    assert cell.text() == "before\n"
    assert notebook.run("'variable' in globals()").outputs()[0]["data"] == {"text/plain": "False"}


def test_jobs_run_in_order_each_in_its_cell(remote_notebook: Notebook) -> None:
    """Jobs that share a kernel run one after another, each in its own cell, also when one fails."""
    notebook = remote_notebook
    code = "import time\ntime.sleep(0.2)\nprint('job', {n})\n1 / ({n} - 1)"
    cells = [notebook.run(code.format(n=n), flags="--detach") for n in range(3)]
    cells[2].shows("job 2\n")
    shown = [cell.text().splitlines()[-1] for cell in cells]
    assert shown == ["job 0", "job 1", "job 2"]
    notebook.end.until(lambda: any(output["output_type"] == "error" for output in cells[1].outputs()))


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
