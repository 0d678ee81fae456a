"""A training that is killed at some step goes on with `--resume`, and has the losses of one that was not killed."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from nbclient.exceptions import CellExecutionError

from tests.fakes.notebook import LiveNotebook
from tests.fakes.s3 import S3

CELL = """
import os, random, signal
import numpy as np, torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

class Noisy(Dataset):
    def __len__(self):
        return 96
    def __getitem__(self, index):
        x = torch.full((8,), index / 96) + 0.1 * torch.rand(8) + 0.1 * random.random()
        return x, x.sum(0, keepdim=True)

random.seed(1); np.random.seed(1); torch.manual_seed(1)
loader = DataLoader(Noisy(), batch_size=8, shuffle=True, num_workers=WORKERS)
model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.Linear(16, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 36)
noise = np.random.default_rng(3)
step = 0
found = lepton.restore(model=model, optimizer=optimizer, scheduler=scheduler, noise=noise)
losses = found["losses"] if found else []
for epoch in lepton.epochs(3):
    for features, wanted in loader:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(features), wanted) * (1 + 0.01 * random.random() + 0.01 * noise.random())
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        step += 1
        if step == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if step % 3 == 0:
            lepton.checkpoint(model=model, optimizer=optimizer, scheduler=scheduler, noise=noise, losses=losses)
print(bool(found), [value.hex() for value in losses])
"""
KERAS = """
import keras, numpy as np, os, signal
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
model = keras.Sequential(
    [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(1)]
)
model.compile("adam", "mse")
class Kill(keras.callbacks.Callback):
    steps = 0
    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
for epochs in (4, 2):
    history = model.fit(x, x.sum(1), epochs=epochs, batch_size=8, verbose=0, callbacks=[Kill()])
    print(history.epoch, [value.hex() for value in history.history["loss"]])
"""


def said(text: str) -> str:
    return re.sub("lepton: .*\n", "", text).strip().splitlines()[-1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_training_goes_on_as_if_nothing_had_been(notebook: LiveNotebook, workers: int) -> None:
    cell = f"WORKERS = {workers}\n{CELL}"
    whole = said(notebook.text(f"%%lepton_train --name whole\nKILL = 0\n{cell}"))
    # An epoch has twelve steps; a checkpoint is surely whole when the next one is taken.
    for kill in (random.randint(7, 18), random.randint(1, 12))[: 2 - workers // 2]:
        with pytest.raises(CellExecutionError, match="KernelDied"):
            notebook.run(f"%%lepton_train --name killed --resume\nKILL = {kill}\n{cell}")
    resumed = notebook.text(f"%%lepton_train --name killed --resume\nKILL = 0\n{cell}")
    assert "--resume: goes on after" in resumed
    assert said(resumed) == whole.replace("False", "True")


def test_without_the_flag_it_begins_anew_and_old_runs_go(notebook: LiveNotebook, tmp_path: Path) -> None:
    cell = "lepton.restore()\nfor epoch in lepton.epochs(5):\n    lepton.checkpoint(epoch=epoch)\nprint(epoch)"
    for _ in range(3):
        assert said(notebook.text(f"%%lepton_train --name again\n{cell}")) == "4"
    (folder,) = (tmp_path / "state" / "host" / "checkpoints").iterdir()
    kept = sorted(path.name for path in folder.glob("*/*"))
    assert kept == sorted(["00000003", "00000004", "00000005"] * 2)  # of two runs
    assert not list(folder.glob("*/*.part"))
    done = "%%lepton_train --name again --resume\nprint(lepton.restore(), list(lepton.epochs(7)))"
    assert said(notebook.text(done)) == "{'epoch': 4} [5, 6]"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("lepton.checkpoint()", "nothing to keep"),
        ("lepton.checkpoint(lock=__import__('threading').Lock())", "lock"),
        ("list(lepton.epochs(-1))", "whole number"),
    ],
    ids=["nothing", "no format", "epochs"],
)
def test_mistakes_are_said(notebook: LiveNotebook, code: str, words: str) -> None:
    with pytest.raises(CellExecutionError, match=words):
        notebook.run(f"%%lepton_train\n{code}")


def test_what_does_not_fit_the_checkpoint_is_said(notebook: LiveNotebook) -> None:
    notebook.run("%%lepton_train --name fit\nimport random\nlepton.checkpoint(dice=random.Random(), best=1)")
    for code, words in (("lepton.restore()", "also has 'dice'"), ("lepton.restore(dice=1)", "and here it is value")):
        with pytest.raises(CellExecutionError, match=words):
            notebook.run(f"%%lepton_train --name fit --resume\n{code}")
    anew = notebook.text("%%lepton_train --name fit --resume\nfor n in range(3):\n    lepton.checkpoint(n=n)")
    assert anew.count("--resume: begins anew, since the cell does not call lepton.restore") == 1


def test_another_host_goes_on_from_the_bucket(
    open_notebook: Callable[[], LiveNotebook], s3: S3, tmp_path: Path
) -> None:
    s3.make("runs")
    (tmp_path / "lepton.toml").write_text('[targets.local]\nkind = "local"\nartifacts = "s3://runs/ours"\n')
    notebook = open_notebook()
    notebook.run(f"keys = {s3.credentials!r}")
    magic = "%%lepton_train --name far --credentials keys"
    assert said(notebook.text(f"{magic} --resume\nprint(lepton.restore())")) == "None"
    notebook.run(f"{magic}\nfor epoch in lepton.epochs(5):\n    lepton.checkpoint(epoch=epoch)")
    fit = KERAS.replace("epochs=epochs", "epochs=2")
    trained = said(notebook.text(f"%%lepton_train --name fits --credentials keys --resume\nKILL = -1\n{fit}"))
    shutil.rmtree(tmp_path / "state" / "host" / "checkpoints")
    resumed = notebook.text(f"{magic} --resume\nprint(lepton.restore(), list(lepton.epochs(7)))")
    assert said(resumed) == "{'epoch': 4} [5, 6]"
    assert said(notebook.text(f"%%lepton_train --name fits --credentials keys --resume\nKILL = 1\n{fit}")) == trained
    (tmp_path / "lepton.toml").write_text('[targets.local]\nkind = "local"\nartifacts = "s3://nowhere"\n')
    notebook = open_notebook()
    notebook.run(f"keys = {s3.credentials!r}")
    text = notebook.text(f"{magic} --fresh\nlepton.checkpoint(x=1)\nprint('done')")
    assert "the checkpoint 1 is not in the bucket" in text
    assert "done" in text
    shutil.rmtree(tmp_path / "state" / "host" / "checkpoints")
    # not taken for a bucket without checkpoints
    with pytest.raises(CellExecutionError, match="there is no bucket 'nowhere'"):
        notebook.run(f"{magic} --resume\nlepton.restore()")


def test_keras_goes_on_by_itself(notebook: LiveNotebook) -> None:
    def losses(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith("[")]

    whole = losses(notebook.text("%%lepton_train --name whole\nKILL = -1\n" + KERAS))
    kill = random.randint(17, 32)  # an epoch has eight steps, and the second is surely kept when the fourth begins
    with pytest.raises(CellExecutionError, match="KernelDied"):
        notebook.run(f"%%lepton_train --name killed --resume\nKILL = {kill}\n{KERAS}")
    resumed = notebook.text("%%lepton_train --name killed --resume\nKILL = -1\n" + KERAS)
    assert losses(resumed) == whole
    assert re.search("--resume: `fit` goes on after epoch [123] of 4", resumed)
