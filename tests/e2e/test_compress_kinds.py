"""The automatic mode on each kind of model, trained by cells of one kernel: what its report says is measured again."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.outputs._models import MIME
from lepton_jupyter.store import JobStore
from tests.fakes.notebook import LiveNotebook

KINDS = ("mlp", "cnn", "lstm", "transformer")
TOLERANCE = 0.05
DATA = """%%lepton_train
import numpy as np
from sklearn.datasets import load_digits
digits = load_digits()
images, labels = (digits.images / 16).astype("float32"), digits.target.astype("int64")
"""
TORCH = """%%lepton_train
import torch
from torch import nn
torch.manual_seed(0)
torch.set_num_threads(1)

class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.b, self.c = nn.Conv2d(16, 32, 3, padding=1), nn.Linear(32 * 4, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.norm(self.a(x[:, None])).relu(), 2)
        return self.c(nn.functional.max_pool2d(self.b(x).relu(), 2).flatten(1))

class LSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows, self.c = nn.LSTM(8, 48, batch_first=True), nn.Linear(48, 10)

    def forward(self, x):
        return self.c(self.rows(x)[0][:, -1])

class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.places = nn.Linear(8, 32), nn.Parameter(torch.zeros(1, 8, 32))
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.c = nn.Linear(32, 10)

    def forward(self, x):
        return self.c(self.layer(self.embed(x) + self.places).mean(1))

x, y = torch.tensor(images), torch.tensor(labels)
train, test = (x[:1200], y[:1200]), (x[1200:], y[1200:])
mlp = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 10))
cnn, lstm, transformer = CNN(), LSTM(), Transformer()
for model in (mlp, cnn, lstm, transformer):
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for epoch in range(15):
        for rows in torch.randperm(1200).split(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(train[0][rows]), train[1][rows]).backward()
            optimizer.step()
    model.eval()
"""
KERAS = """%%lepton_train
import keras
from keras import layers
keras.utils.set_random_seed(0)
train, test = (images[:1200], labels[:1200]), (images[1200:], labels[1200:])
mlp = keras.Sequential([keras.Input((8, 8)), layers.Flatten(), layers.Dense(96, activation="relu"),
                        layers.Dense(48, activation="relu"), layers.Dense(10)])
cnn = keras.Sequential([keras.Input((8, 8)), layers.Reshape((8, 8, 1)), layers.Conv2D(16, 3, padding="same"),
                        layers.BatchNormalization(momentum=0.9), layers.ReLU(), layers.MaxPooling2D(),
                        layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
                        layers.Flatten(), layers.Dense(10)])
lstm = keras.Sequential([keras.Input((8, 8)), layers.LSTM(48), layers.Dense(10)])
given = keras.Input((8, 8))
rows = layers.Dense(32)(given)
rows = layers.LayerNormalization()(rows + layers.MultiHeadAttention(4, 8)(rows, rows))
rows = layers.LayerNormalization()(rows + layers.Dense(32)(layers.Dense(64, activation="relu")(rows)))
transformer = keras.Model(given, layers.Dense(10)(layers.Flatten()(rows)))
for model in (mlp, cnn, lstm, transformer):
    model.compile(keras.optimizers.Adam(5e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*train, batch_size=60, epochs=15, verbose=0)
"""
#: In the notebook, and sent: how often a model is right, asked as it is called, in a framework or out of it.
RIGHT = """
import io, zlib
import numpy as np
from sklearn.datasets import load_digits
pictures, digits = (load_digits().images / 16).astype("float32")[1200:], load_digits().target[1200:]

def right(model):
    if hasattr(model, "parameters"):
        import torch
        with torch.no_grad():
            answers = model(torch.tensor(pictures)).numpy()
    else:
        answers = np.asarray(model(pictures))
    return float((answers.argmax(1) == digits).mean())

def zipped(model):
    arrays = ([each.detach().numpy() for each in model.state_dict().values()] if hasattr(model, "state_dict")
              else model.get_weights())
    file = io.BytesIO()
    np.savez(file, *arrays)
    return len(zlib.compress(file.getvalue()))
"""


def compressed(notebook: LiveNotebook, kind: str, trials: int) -> tuple[dict[str, Any], str]:
    """The report as JSON and as text."""
    outputs = notebook.run(
        f"%lepton_compress {kind} --data train --test test --tolerance {TOLERANCE} --budget 10m --trials {trials}"
    )
    (forms,) = [output["data"] for output in outputs if MIME in output.get("data", {})]
    return forms[MIME], forms["text/plain"]


def check(notebook: LiveNotebook, folder: Path, kind: str, trials: int) -> None:
    report, text = compressed(notebook, kind, trials)
    before, compiled, after = report["rows"]
    # Sizes: the files that were kept, and the arrays, are there to be measured again.
    store = JobStore(folder / "state" / "jobs.db")
    (job,) = [job.job_id for job in store.list() if job.spec.title == f"compress {kind} → {kind}_small"]
    store.close()
    notebook.run(f"%lepton_fetch {job} --to {kind}")
    files = {path.suffix: path for path in (folder / kind).iterdir()}
    asked = notebook.text(f"%%lepton_train\nprint([zipped({kind}), right({kind})])")  # where it lives
    was, had = json.loads(asked.splitlines()[-1])
    assert before["sizes"]["zipped"] == pytest.approx(was, rel=0.05)
    file = files.get(".onnx") or files.get(".tflite")
    assert file, f"{kind}: no file of a runtime among {sorted(files)}"
    assert len(zlib.compress(file.read_bytes())) == after["sizes"]["zipped"] < 0.6 * was
    # The metric: on data that neither trained nor chose.
    assert "597 examples of test=" in " ".join(report["notes"])
    assert before["metric"]["value"] == pytest.approx(had)
    again = float(notebook.text(f"print(right({kind}_small))"))
    assert after["metric"]["value"] == pytest.approx(again)
    assert again >= had - TOLERANCE, kind
    for row in (before, after):
        assert row["metric"]["low"] < row["metric"]["value"] < row["metric"]["high"]
        assert row["macs"] > 1000
        assert sum(each["nonzero"] for each in row["layers"]) == row["sizes"]["nonzero"]
    # Speed: against eager and compiled, with its spread.
    for row in (before, compiled, after):
        assert [each["batch"] for each in row["latencies"]] == [1, 128]
        for each in row["latencies"]:
            assert 0 < each["low"] <= each["median"] <= each["high"]
            assert each["rounds"] >= 3
            assert each["warm_up"] >= 2
            assert each["threads"] >= 1
    assert after["latencies"][0]["median"] < before["latencies"][0]["median"], kind
    assert "Against the compiled model its speed is" in text
    # What was tried, and what was not taken and why.
    tried = report["tried"]
    assert len(tried) == trials
    (chose,) = re.findall(r"that chose was (\d\.\d+) ", " ".join(report["notes"]))
    for each in tried:
        assert each["zipped"]
        assert bool(each["why"]) == (float(chose) - each["metric"] > TOLERANCE), each
    assert " → ".join(report["steps"]) in [each["name"] for each in tried if not each["why"]]
    assert "what came of it" in text


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("framework", "trials"), [("torch", 4), ("keras", 3)])
def test_each_kind_gets_smaller_and_faster(framework: str, trials: int, notebook: LiveNotebook, tmp_path: Path) -> None:
    notebook.patience = 300  # compilers take their time on a busy machine
    notebook.run(DATA)
    notebook.run(TORCH if framework == "torch" else KERAS)
    notebook.run(RIGHT)
    for kind in KINDS:
        check(notebook, tmp_path, kind, trials)
