"""`%lepton_compress` over real kernels: a model that lives behind sshd alone, and what is said of what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.job import JobState
from lepton_jupyter.outputs._models import MIME
from lepton_jupyter.store import JobStore
from tests.fakes.notebook import LiveNotebook, shown
from tests.fakes.sshd import Sshd

Open = Callable[[], LiveNotebook]

CLASS = """%%lepton_train --on {on} --kernel models
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 48), nn.Linear(48, 32), nn.Linear(32, 10)

    def forward(self, x):
        return self.c(self.b(self.a(x).relu()).relu())
"""
TRAINED = """%%lepton_train --on {on} --kernel models
from sklearn.datasets import load_digits
torch.manual_seed(0)
torch.set_num_threads(1)
x, y = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
x, y = (x / 16).float(), y.long()
train, test = (x[:1400], y[:1400]), (x[1400:], y[1400:])
model = Net()
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
for _ in range(100):
    loss = nn.functional.cross_entropy(model(train[0]), train[1])
    optimizer.zero_grad(); loss.backward(); optimizer.step()
print('accuracy', (model(test[0]).argmax(1) == test[1]).float().mean().item())
"""
RIGHT = "def right(model):\n    return [float(each) for each in model(test[0]).argmax(1) == test[1]]\n"


@pytest.fixture
def on(open_notebook: Open, sshd: Sshd, tmp_path: Path) -> str:
    """A host behind sshd; notebooks/03_compress_pytorch.ipynb goes the same way on this machine."""
    (tmp_path / "lepton.toml").write_text(
        f'[targets.gpu1]\nkind = "ssh"\nhost = "{sshd.alias}"\nssh_config = "{sshd.config}"\n'
        f'root = "{sshd.root}"\npython = "{sys.executable}"\n'
    )
    return "gpu1"


def displayed(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """The report, in each of its forms."""
    (found,) = [output["data"] for output in outputs if MIME in output.get("data", {})]
    return dict(found)


def test_a_model_that_lives_there_comes_back_small_with_its_report_and_files(
    notebook: LiveNotebook, on: str, tmp_path: Path
) -> None:
    notebook.run(CLASS.format(on=on))
    notebook.run(TRAINED.format(on=on))
    notebook.run(RIGHT)
    outputs = notebook.run(
        f"%lepton_compress model --as tiny --methods structured --sparsity 0.3 --data train --evaluate right --on {on} "
        "--kernel models --export onnx --budget 1m"
    )
    said = shown(outputs)
    assert "sent: right (source)" in said  # and nothing else: the rest is there
    assert "100 %" in said
    forms = displayed(outputs)
    report = forms[MIME]
    assert report["rows"][-1]["metric"]["value"] > 0.8
    assert "tiny.onnx: " in report["notes"][-1]
    assert report["rows"][-1]["sizes"]["parameters"] < 0.75 * report["rows"][0]["sizes"]["parameters"]
    assert "<table" in forms["text/html"]
    assert "non-zero" in forms["text/plain"]
    # The class came from an earlier cell of that kernel; the notebook never ran it.
    checks = "print(type(tiny).__name__, tiny is tiny_report.model, tiny.a.weight.shape[0] < 48, tiny_report.steps)"
    assert notebook.text(checks).startswith("Net True True ['Structured")
    store = JobStore(tmp_path / "state" / "jobs.db")
    (job,) = [job for job in store.list() if "models" in job.telemetry]
    store.close()
    assert job.state is JobState.COMPLETED
    assert job.spec.title == "compress model → tiny"
    (listed,) = job.telemetry["models"]
    assert listed == {**report["summary"], "steps": listed["steps"]}
    assert {file["name"] for file in listed["files"]} == {"tiny.lepton", "tiny.onnx"}
    assert "3 files" in notebook.text(f"%lepton_fetch {job.job_id} --to got")
    kept = json.loads((tmp_path / "got" / "tiny.compression.json").read_text())
    assert kept == report
    check = (
        "from lepton_jupyter.ml.frameworks.onnx import OnnxModel\nimport numpy as np, pathlib, torch\n"
        "one = np.ones((3, 64), np.float32)\nfile = OnnxModel(pathlib.Path('got/tiny.onnx').read_bytes())\n"
        "print(np.allclose(file(one), tiny(torch.from_numpy(one)).detach(), atol=1e-4), tiny_report.model is tiny)"
    )
    assert notebook.text(check) == "True True\n"  # the report that was fetched has the model that was fetched
    there = f"--on {on} --kernel models"
    assert "data=" in notebook.failure(f"%lepton_compress model --methods structured {there}")
    assert "nothing to judge" in notebook.failure(f"%lepton_compress model {there}")
    assert "nothing is exported to gguf" in notebook.failure(f"%lepton_compress model --export gguf {there}")


def test_what_is_wrong_is_said_in_words(notebook: LiveNotebook) -> None:
    notebook.run("%%lepton_train\nmodel = object()")
    said = notebook.failure("%lepton_compress modle")
    assert "there is no 'modle': neither in the notebook nor in this kernel" in said
    assert "Did you mean model?" in said
    said = notebook.failure("%lepton_compress model --methods shrink --data 1,2")
    assert "shrink" in said
    assert "structured" in said
    assert "quantize" in said
