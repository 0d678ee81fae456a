"""The flags of training on unchanged cells, over a real kernel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.test_metrics import newest, training
from tests.e2e.test_notebooks import executed
from tests.fakes.notebook import LiveNotebook

TORCH = """
import torch
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(0)
x = torch.randn(64, 8)
y = x.sum(1, keepdim=True)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for step in range(STEPS):
    optimizer.zero_grad()
    output = model(x)
    loss = nn.functional.mse_loss(output, y)
    if step == 7 and BREAK:
        loss = loss * float("nan")
    loss.backward()
    optimizer.step()
print(output.dtype, loss.item().hex())
"""

DISTRIBUTED = """
import pair, torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

distributed.init_process_group("gloo", init_method="file://FOLDER/alone", rank=0, world_size=1)
model = DistributedDataParallel(nn.Linear(8, 1))
pair.train(model, x=torch.ones(4, 8))
distributed.destroy_process_group()
torch.multiprocessing.spawn(pair.one_of_two, ("FOLDER/both",), nprocs=2)
print("both", open("FOLDER/both-0").read() == open("FOLDER/both-1").read())
"""
PAIR = """
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


def train(model, x):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(40):
        optimizer.zero_grad()
        factor = float("nan") if step == 7 and len(x) == 4 else 100.0 if step == 20 else 1.0
        loss = model(x).pow(2).mean() * factor
        loss.backward()
        optimizer.step()


def one_of_two(rank, place):
    distributed.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Linear(8, 1))
    train(model, torch.randn(5, 8) + rank)
    with open(f"{place}-{rank}", "w") as file:
        file.write(str([each.tolist() for each in model.parameters()]))
    distributed.destroy_process_group()
"""


def cell(steps: int, broken: bool = False) -> str:
    return TORCH.replace("STEPS", str(steps)).replace("BREAK", str(broken))


def test_a_cell_trains_as_its_flags_say(notebook: LiveNotebook) -> None:
    plain = notebook.text(f"%%lepton_train\n{cell(40)}").splitlines()[-1]
    half = notebook.text(f"%%lepton_train --precision bf16\n{cell(40)}").splitlines()[-1]
    assert half.startswith("torch.float32 ")
    assert half != plain
    assert abs(float.fromhex(half.split()[1]) - float.fromhex(plain.split()[1])) < 0.1
    said = notebook.text(f"%%lepton_train --precision bf16 --gradients auto\n{cell(40, broken=True)}")
    assert "gradients: a step was left out: its gradients were not finite (nan or inf)" in said
    assert "1 step was left out" in said
    said = notebook.text(f"%%lepton_train --precision auto\n{cell(300)}")
    # Where the processor has no 16 bits, there is nothing to measure.
    assert re.search(r"^lepton: precision: (fp32 stays|.* ms for a step's forward and backward)", said, re.MULTILINE)
    assert notebook.text(f"%%lepton_train\n{cell(40)}").splitlines()[-1] == plain


def test_processes_that_train_together_are_left_to_it(notebook: LiveNotebook, tmp_path: Path) -> None:
    (tmp_path / "pair.py").write_text(PAIR)
    said = notebook.text(f"%%lepton_train --gradients auto\n{DISTRIBUTED.replace('FOLDER', str(tmp_path))}")
    assert "both True" in said
    assert re.search(r"gradients: 1 step was left out, .*; \d+ steps? w.+ clipped", said)
    seen = training(newest(tmp_path))
    assert seen["steps"] == 40
    assert seen["values"]["grad_norm"] > 0


@pytest.mark.slow
@pytest.mark.timeout(320)
def test_the_notebook_shows_every_flag(tmp_path: Path, repository: Path) -> None:
    notebook = executed(repository / "notebooks" / "05_training.ipynb", tmp_path)
    said = ["".join(output.get("text", "") for output in cell.get("outputs", ())) for cell in notebook.cells]
    right = [float(number) for text in said for number in re.findall(r"^(\d+\.\d)% right$", text, re.MULTILINE)]
    assert len(right) == 4
    assert min(right) > 80
    together = "\n".join(said)
    assert "precision: " in together
    assert "gradients: a step was left out" in together
