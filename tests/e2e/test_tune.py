"""`%%lepton_tune` with real kernels: an unchanged training cell, several kernels, a killed one, the stop button."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

from lepton_jupyter.job import Job
from lepton_jupyter.store import JobStore
from tests.fakes.notebook import LiveNotebook, shown

TORCH = """
import torch
from torch import nn
torch.set_num_threads(1)
lr, hidden, batch = 1e-4, 16, 32
x = torch.randn(256, 8)
y = x.pow(2).sum(1, keepdim=True) * scale
model = nn.Sequential(nn.Linear(8, hidden), nn.ReLU(), nn.Linear(hidden, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=lr)
for epoch in range(6):
    for begin in range(0, len(x), batch):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[begin:begin + batch]), y[begin:begin + batch])
        loss.backward()
        optimizer.step()
    print("epoch", epoch)
torch.save(model.state_dict(), "model.pt")
"""


def newest(tmp_path: Path) -> Job:
    store = JobStore(tmp_path / "state" / "jobs.db")
    try:
        found: Job = store.list(limit=1)[0]
        return found
    finally:
        store.close()


def pid(notebook: LiveNotebook) -> int:
    """Of the remote kernel."""
    return int(notebook.text("%%lepton_train\nimport os\nprint(os.getpid())").splitlines()[-1])


def until(wanted: Callable[[], bool]) -> None:
    end = time.monotonic() + 40
    while not wanted():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_unchanged_torch_cell_is_tuned_and_probed(notebook: LiveNotebook, tmp_path: Path) -> None:
    notebook.run("scale = 0.1")
    outputs = notebook.run(f"%%lepton_tune --trials 7 --prune --out model --name numbers\n{TORCH}")
    said = "".join(output.get("text", "") for output in outputs)
    assert "tuning lr=log:1e-06..0.01  hidden=log:4..64  batch=8|16|32|64|128" in said
    assert "for the lowest val_loss, or loss" in said
    assert re.search(r"^1/7  loss \d.*lr=0.0001 hidden=16 batch=32 .*best so far$", said, re.MULTILINE)
    assert re.search(r"^7/7  ", said, re.MULTILINE)
    assert "epoch" not in said
    result = next(output["data"] for output in outputs if "data" in output)
    assert result["text/html"].count("<svg") == 3
    kept = tmp_path / "kept"
    assert "2 files" in notebook.text(f"%lepton_fetch --to {kept} {newest(tmp_path).job_id} model.pt best.tune.json")
    told = json.loads((kept / "best.tune.json").read_text())
    assert len(told["trials"]) == 7
    # What came back is of the best trial: its variable, and the file it wrote.
    check = (
        "import torch\nstate = torch.load('kept/model.pt')\n"
        "same = [state[name].equal(value) for name, value in model.state_dict().items()]\n"
        "print(best == %r, len(best_trials), all(same))"
    )
    assert notebook.text(check % told["best"]["params"]) == "True 7 True\n"
    job = newest(tmp_path)
    assert job.telemetry["metric"]["name"] == "best loss"
    assert job.telemetry["progress"]["total"] == 7

    said = notebook.text("%lepton_tune --find lr --as rate")
    assert "there the loss fell fastest in" in said
    assert notebook.text("print(1e-4 < rate['lr'] < 1)") == "True\n"
    said = notebook.text(f"%%lepton_tune --find batch\n{TORCH}")
    assert re.search(r"^ +64 +[\d,]+ examples/s$", said, re.MULTILINE)
    assert notebook.text("print(best['batch'] >= 32)") == "True\n"
    assert notebook.text("%%lepton_train\nprint([name for name in ('model', 'lr', 'epoch') if name in globals()])") == (
        "['model']\n"  # of --out alone
    )


def test_what_cannot_be_tuned_is_said(notebook: LiveNotebook) -> None:
    assert "there is no cell yet" in notebook.failure("%lepton_tune --find lr")
    assert "nothing to tune" in notebook.failure("%%lepton_tune\nprint(1)")
    assert "--study NAME goes on with a study" in notebook.failure("%%lepton_tune --resume\nx = 1.0")
    batch = notebook.failure("%%lepton_tune --find batch --gradients auto\nbatch_size = 8")
    assert "Leave out --gradients" in batch
    assert "1 is not below 0" in notebook.failure("%%lepton_tune --space x=1..0\nx = 1")
    assert "neither val_loss nor loss" in notebook.failure("%%lepton_tune\nx = 1.0")
    said = re.sub(r"\x1b\[[\d;]*m", "", notebook.failure("%%lepton_tune --metric y\nx = 1.0\ny = 1 / 0"))
    assert "all 3 trials failed, each with ZeroDivisionError" in said
    assert re.search(r"Cell In\[\d+\], line 2\n.*\n-+> 2 y = 1 / 0\n", said)
    assert "trials.py" not in said


def test_kernels_share_a_study(notebook: LiveNotebook, tmp_path: Path) -> None:
    cell = (
        "import os, time\nfrom pathlib import Path\nx = 1.0\ntime.sleep(0.4)\nscore = (x - 1) ** 2\n"
        f"Path('{tmp_path}', 'pid-%d-%s' % (os.getpid(), lepton.params['x'])).touch()"
    )
    said = notebook.text(f"%%lepton_tune --parallel 2 --trials 12 --metric score --minimize\n{cell}")
    assert "for the lowest score" in said
    assert "12 trials; the best score is 0, with x = 1 (trial 1)" in said
    own = pid(notebook)
    runs = {int(path.name.split("-")[1]) for path in tmp_path.glob("pid-*")}
    assert len(runs) == 2
    assert own in runs
    until(lambda: not any(psutil.pid_exists(each) for each in runs - {own}))
    assert notebook.text("print(best, len(best_trials))") == "{'x': 1.0} 12\n"


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_other_kernels_end_with_the_first(notebook: LiveNotebook, tmp_path: Path, how: str) -> None:
    mark = f"Path('{tmp_path}', f'pid-{{os.getpid()}}').touch()"
    cell = f"import os, time\nfrom pathlib import Path\nx = 1.0\n{mark}\ntime.sleep(99)"
    own = pid(notebook)
    notebook.text(f"%%lepton_tune --parallel 2 --study long --metric x --minimize --detach\n{cell}")

    def begun() -> list[int]:
        return [int(path.name.split("-")[1]) for path in tmp_path.glob("pid-*")]

    until(lambda: len(begun()) == 2)
    (other,) = (each for each in begun() if each != own)
    if how == "killed":
        os.kill(own, signal.SIGKILL)
    else:
        os.kill(own, signal.SIGINT)
        time.sleep(1.5)
        assert psutil.pid_exists(other)  # the trials that run may come to their end
        os.kill(own, signal.SIGINT)
        job = newest(tmp_path).job_id
        assert "no trial came to its end" in re.sub(r"\x1b\[[\d;]*m", "", notebook.failure(f"%lepton_attach {job}"))
    until(lambda: not psutil.pid_exists(other))


def test_a_study_goes_on_after_its_kernel_was_killed_and_stops_when_asked(
    notebook: LiveNotebook, tmp_path: Path
) -> None:
    cell = (
        "import os, time\nfrom pathlib import Path\nx = 1.0\n"
        f"Path('{tmp_path}', f'pid-{{os.getpid()}}-{{x}}').touch()\n"
        "time.sleep(0.3)\nscore = (x - 1) ** 2\nPath('score.txt').write_text(str(score))"
    )

    def begun() -> list[str]:
        return [path.name.split("-")[1] for path in tmp_path.glob("pid-*")]

    notebook.text(f"%%lepton_tune --study mine --trials 6 --metric score --minimize --detach\n{cell}")
    until(lambda: len(begun()) > 2)
    killed = begun()[0]
    os.kill(int(killed), signal.SIGKILL)
    before = len(begun())
    until(lambda: not psutil.pid_exists(int(killed)))
    said = notebook.text(f"%%lepton_tune --study mine --trials 6 --metric score --minimize\n{cell}")
    assert re.search(rf", [{before - 2}{before - 1}] of them there already", said)
    assert "6 trials; the best score is 0, with x = 1 (trial 1)" in said
    assert "1 file" in notebook.text(f"%lepton_fetch {newest(tmp_path).job_id} score.txt")

    known = len(begun())
    notebook.run(f"%%lepton_tune --study mine --trials 500 --metric score --minimize --detach\n{cell}")
    until(lambda: len(begun()) > known + 1)
    job = newest(tmp_path).job_id
    os.kill(next(int(pid) for pid in begun() if pid != killed), signal.SIGINT)  # as the stop button does
    notebook.run(f"%lepton_attach {job}")
    assert "Stopped before all trials were run." in notebook.text(f"%lepton_logs {job}")
    notebook.run(f"%lepton_fetch {job}")
    assert notebook.text("print(best, 6 < len(best_trials) < 500)") == "{'x': 1.0} True\n"


@pytest.mark.slow
@pytest.mark.timeout(320)
def test_the_notebook_about_tuning_runs(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "state"))
    notebook = nbformat.read(repository / "notebooks" / "06_tune.ipynb", as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    said = "\n".join(shown(cell.get("outputs", ())) for cell in notebook.cells)
    accuracy = re.search(r"^12 trials, validation accuracy (\d+\.\d)%$", said, re.MULTILINE)
    assert accuracy is not None
    assert float(accuracy[1]) > 90
    assert "6 trials; the best error is" in said
