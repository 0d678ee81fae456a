"""The metrics of unchanged training cells, seen by the kernel and kept with the job."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from nbclient.exceptions import CellExecutionError

from lepton_jupyter.job import Job
from lepton_jupyter.store import JobStore
from tests.fakes.notebook import LiveNotebook

TORCH = """
import pickle, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
x = torch.randn(256, 8)
loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=32)
model = nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

def fit(epochs):
    for epoch in range(epochs):
        for features, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(features), wanted)
            loss.backward()
            optimizer.step()
    return loss
loss = fit(40)
again = pickle.loads(pickle.dumps(loader))  # nothing of ours is left in it
print(len(again), loss.item().hex())
"""
KERAS = """
import keras, numpy as np, tensorflow as tf
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
y = x.sum(1, keepdims=True)
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.SGD(0.05), "mse")
history = model.fit(x, y, batch_size=32, epochs=5, validation_split=0.25, verbose=0).history
"""
TAPE = """
optimizer = keras.optimizers.SGD(0.01)

@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss

for step in range(30):
    loss = train_step(x, y)
for step in range(5):
    with tf.GradientTape() as tape:
        eager = tf.reduce_mean((model(x) - y) ** 2)
    optimizer.apply_gradients(zip(tape.gradient(eager, model.trainable_variables), model.trainable_variables))
"""


MLFLOW = "sqlite:///runs.db"
READ = f"""
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
read = EventAccumulator("{{folder}}").Reload()
print([(each.step, each.value) for each in read.Scalars("reward")])
import mlflow
client = mlflow.MlflowClient(tracking_uri="{MLFLOW}")
(run,) = client.search_runs([client.get_experiment_by_name("lepton").experiment_id])
print([(each.step, each.value) for each in client.get_metric_history(run.info.run_id, "reward")])
"""


def newest(tmp_path: Path) -> Job:
    store = JobStore(tmp_path / "state" / "jobs.db")
    try:
        for _ in range(100):
            job: Job = store.list(limit=1)[0]
            if job.state.final:
                break
            time.sleep(0.1)
        return job
    finally:
        store.close()


def training(job: Job) -> Mapping[str, Any]:
    return dict(job.telemetry["training"])


def test_a_plain_torch_loop_tells_its_metrics_and_computes_the_same(notebook: LiveNotebook, tmp_path: Path) -> None:
    here = notebook.text(TORCH)
    assert notebook.text(f"%%lepton_train\n{TORCH}").splitlines()[-1] == here.strip()
    job = newest(tmp_path)
    found = training(job)
    assert found["steps"] == 40 * 8
    assert found["values"]["loss"] == float(f"{float.fromhex(here.split()[1]):.4g}")
    assert found["values"]["grad_norm"] > 0
    assert job.telemetry["metric"]["name"] == "loss"
    assert job.telemetry["progress"]["total"] == 40
    assert job.telemetry["progress"]["unit"] == "epoch"


def test_keras_and_tapes_tell_theirs(notebook: LiveNotebook, tmp_path: Path) -> None:
    said = notebook.text(f"%%lepton_train\n{KERAS}print(history['val_loss'][-1])").splitlines()[-1]
    found = training(newest(tmp_path))
    assert found["steps"] == 5 * 6
    assert found["values"]["val_loss"] == float(f"{float(said):.4g}")
    assert found["values"]["learning_rate"] == 0.05
    said = notebook.text(f"%%lepton_train\n{TAPE}print(float(eager))").splitlines()[-1]
    found = training(newest(tmp_path))
    assert found["steps"] == 35
    assert found["values"]["loss"] == float(f"{float(said):.4g}")


def test_what_a_cell_logs_is_its_main_metric(notebook: LiveNotebook, tmp_path: Path) -> None:
    loop = "for n in range(5):\n    lepton.log(reward=n * 2.0, step=n)\nprint('loss: 3.5')"
    notebook.run(f"%%lepton_train\nimport lepton  # not needed, but people type it\n{loop}")
    metric = newest(tmp_path).telemetry["metric"]
    assert (metric["name"], metric["value"]) == ("reward", 8.0)
    with pytest.raises(CellExecutionError, match="name is a str, not one number"):
        notebook.run("%%lepton_train\nlepton.log(name='a')")


def test_metrics_go_where_people_look_at_them(notebook: LiveNotebook, tmp_path: Path) -> None:
    cell = "for n in range(3):\n    lepton.log(reward=n * 2.0, step=10 * n)\nlepton.log(alone=7)"
    notebook.run(f"%%lepton_train\n{cell}")
    job = newest(tmp_path).job_id
    code = f"points = %lepton_metrics {job}\n" + "print([(each.name, each.step, each.value) for each in points])"
    wanted = [("reward", 0, 0.0), ("reward", 10, 2.0), ("reward", 20, 4.0), ("alone", 0, 7.0)]
    assert notebook.text(code).strip() == str(wanted)

    notebook.run(f"%lepton_metrics {job[:6]} --tensorboard {tmp_path}/runs")
    notebook.run(f"import warnings\nwarnings.simplefilter('ignore')\n%lepton_metrics {job} --mlflow {MLFLOW}")
    assert (
        notebook.text(READ.format(folder=tmp_path / "runs" / job)).splitlines()[-2:]
        == ["[(0, 0.0), (10, 2.0), (20, 4.0)]"] * 2
    )
