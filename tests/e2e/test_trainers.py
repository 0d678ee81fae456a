"""Unchanged cells that train with Lightning and with transformers' Trainer: what is seen of them, and each flag."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_metrics import newest, training
from tests.fakes.notebook import LiveNotebook

LIGHTNING = """
import os, signal
import lightning as L, torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

L.seed_everything(1, verbose=False)
torch.set_num_threads(1)
digits = load_digits()
data = TensorDataset(torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target))
train, held = random_split(data, [1437, 360])
lr = 3e-3

class Digits(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        self.losses = []

    def training_step(self, batch, index):
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("train_loss", loss, prog_bar=True)
        self.losses.append(loss.item())
        if len(self.losses) == STOP:
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    def validation_step(self, batch, index):
        x, y = batch
        output = self.net(x)
        right = (output.argmax(1) == y).float().mean()
        self.log_dict({"val_loss": nn.functional.cross_entropy(output, y), "val_acc": right})

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=lr)

model = Digits()
trainer = L.Trainer(max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False,
                    enable_model_summary=False, enable_progress_bar=False, accumulate_grad_batches=PARTS)
trainer.fit(model, DataLoader(train, batch_size=64, shuffle=True), DataLoader(held, batch_size=120))
print([value.hex() for value in model.losses], trainer.callback_metrics["val_loss"].item(), trainer.callbacks)
"""
TRANSFORMERS = """
import os, signal
import numpy as np, torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

torch.set_num_threads(1)
rng = np.random.default_rng(0)
lr = 1e-3
asked = 0

class Words(Dataset):
    def __init__(self, count):
        self.x = torch.tensor(rng.integers(5, 60, size=(count, 8)))
        self.y = (self.x[:, :4].sum(1) > self.x[:, 4:].sum(1)).long()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        global asked
        asked += 1
        if asked == STOP:
            os.kill(os.getpid(), signal.SIGINT)
        return {"input_ids": self.x[index], "labels": self.y[index]}

def accuracy(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}

torch.manual_seed(0)
sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
model = BertForSequenceClassification(BertConfig(vocab_size=64, max_position_embeddings=8, **sizes))
arguments = TrainingArguments("out", num_train_epochs=2, per_device_train_batch_size=16 // PARTS, learning_rate=lr,
                              gradient_accumulation_steps=PARTS, eval_strategy="epoch", logging_steps=1, seed=3,
                              save_strategy="no", report_to="none", disable_tqdm=QUIET, use_cpu=True, max_grad_norm=0.2)
trainer = Trainer(model, arguments, train_dataset=Words(160), eval_dataset=Words(32), compute_metrics=accuracy)
trainer.train()
logs = {"loss": [], "grad_norm": []}
for each in trainer.state.log_history:
    for name in logs:
        if name in each:
            logs[name].append(each[name])
print()
print([value.hex() for value in logs["loss"]], logs["grad_norm"])
"""


@pytest.fixture
def patient(notebook: LiveNotebook) -> LiveNotebook:
    """These libraries take seconds to import, and on a busy machine a minute."""
    notebook.patience = 200
    return notebook


def cell(code: str, stop: int = 0, parts: int = 1, quiet: bool = True) -> str:
    return code.replace("STOP", str(stop)).replace("PARTS", str(parts)).replace("QUIET", str(quiet))


def points(notebook: LiveNotebook, tmp_path: Path) -> dict[str, list[list[float]]]:
    """Steps and values of each metric of the newest job."""
    told = f"""
import collections, json
by_name = collections.defaultdict(list)
points = %lepton_metrics {newest(tmp_path).job_id}
for each in points:
    by_name[each.name].append([each.step, each.value])
print(json.dumps(by_name))
"""
    found: dict[str, list[list[float]]] = json.loads(notebook.text(told).splitlines()[-1])
    return found


def last(text: str) -> str:
    return [line for line in text.splitlines() if line.startswith("[")][-1]


def follows(found: dict[str, Any], epochs: int, steps: int) -> None:
    """What is seen of every trainer."""
    assert found["training"]["steps"] == steps
    assert found["progress"] | {"time": 0} == {
        "fraction": 1, "done": epochs, "total": epochs, "unit": "epoch", "eta": 0, "time": 0
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_lightning(patient: LiveNotebook, tmp_path: Path) -> None:
    notebook = patient
    plain = cell(LIGHTNING)
    here = last(notebook.text(plain))
    assert last(notebook.text(f"%%lepton_train\n{plain}")) == here  # also: no callback of ours is left
    assert not (tmp_path / "lightning_logs").exists()
    job = newest(tmp_path)
    follows(dict(job.telemetry), epochs=3, steps=69)
    assert job.telemetry["metric"]["name"] == "val_loss"
    seen = points(notebook, tmp_path)
    losses = [float.fromhex(each) for each in re.findall("0x[^']*", here)]
    assert [step for step, _ in seen["val_loss"]] == [step for step, _ in seen["val_acc"]] == [23, 46, 69]
    assert "loss" not in seen  # it is there under the user's name
    assert seen["train_loss"][-1] == [69, pytest.approx(losses[-1])]
    assert seen["learning_rate"][-1][1] == 0.003
    assert seen["grad_norm"][-1][1] > 0

    said = notebook.text(f"%%lepton_train --gradients auto --resume\n{cell(LIGHTNING, parts=3)}")
    assert "AutoClip" in said
    assert "--resume: Lightning's Trainer keeps checkpoints of its own" in said
    assert training(newest(tmp_path))["steps"] == 24
    half = last(
        notebook.text(f"%%lepton_train --precision bf16\n{plain.replace('lightning as', 'pytorch_lightning as')}")
    )
    assert half != here
    assert float(half.split("] ")[1].split()[0]) == pytest.approx(float(here.split("] ")[1].split()[0]), abs=0.1)
    assert "val_acc" in points(notebook, tmp_path)

    assert "SystemExit" in notebook.failure(f"%%lepton_train\n{cell(LIGHTNING, stop=20)}")
    assert training(newest(tmp_path))["steps"] == 19
    said = notebook.text(f"%%lepton_tune --trials 2 --metric val_acc --maximize --space lr=1e-4..1e-2\n{plain}")
    assert re.search(r"^2/2  val_acc 0\.\d+  lr=", said, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_transformers(patient: LiveNotebook, tmp_path: Path) -> None:
    notebook = patient
    plain = cell(TRANSFORMERS)
    here = last(notebook.text(plain))
    assert last(notebook.text(f"%%lepton_train\n{plain}")) == here
    job = newest(tmp_path)
    follows(dict(job.telemetry), epochs=2, steps=20)
    assert job.telemetry["metric"]["name"] == "eval_loss"
    seen = points(notebook, tmp_path)
    assert sorted(seen) == ["eval_accuracy", "eval_loss", "grad_norm", "learning_rate", "loss", "steps_per_second"]
    assert [step for step, _ in seen["eval_loss"]] == [step for step, _ in seen["eval_accuracy"]] == [10, 20]
    logged = json.loads("[" + here.split("] [")[1])
    losses = [float.fromhex(each) for each in re.findall("0x[^']*", here)]
    assert seen["loss"][-1] == [20, pytest.approx(losses[-1], rel=1e-4)]
    norm = seen["grad_norm"][-1][1]  # of the last step that was looked at
    assert any(norm == pytest.approx(each, rel=1e-4) for each in logged)
    assert max(norm for _, norm in seen["grad_norm"]) > 0.2  # that is, before the Trainer clips

    said = notebook.text(f"%%lepton_train --gradients auto --resume\n{cell(TRANSFORMERS, parts=2, quiet=False)}")
    assert "--resume: transformers' Trainer keeps checkpoints of its own" in said
    found = points(notebook, tmp_path)["loss"][-1]
    losses = [float.fromhex(each) for each in re.findall("0x[^']*", last(said))]
    assert found[1] == pytest.approx(losses[int(found[0]) - 1], rel=0.2)  # of the last part, not half of it
    half = last(notebook.text(f"%%lepton_train --precision bf16\n{plain}"))
    assert half != here

    assert "KeyboardInterrupt" in notebook.failure(f"%%lepton_train\n{cell(TRANSFORMERS, stop=100)}")
    said = notebook.text(f"%%lepton_tune --trials 2 --space lr=1e-4..1e-2\n{plain}")
    assert re.search(r"^2/2  eval_loss 0\.\d+  lr=", said, re.MULTILINE)
