"""Trials and probes of cells that train with Keras and PyTorch: their metric is seen, their models are put back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml.metrics import Meter, watch
from lepton_jupyter.ml.tune import batch_size, learning_rate
from lepton_jupyter.ml.tune.runner import InTurn
from lepton_jupyter.ml.tune.space import Range
from lepton_jupyter.ml.tune.study import Plan, Study, Tried
from lepton_jupyter.ml.tune.trials import Cell

KERAS = """
import keras
lr = 0.001
model.optimizer.learning_rate = lr
history = model.fit(x, y, batch_size=16, epochs=3, validation_split=0.25, verbose=0).history
"""
TORCH = """
import torch
lr = 0.001
batch = 8
inputs, wanted = torch.as_tensor(x), torch.as_tensor(y)
optimizer = torch.optim.SGD(net.parameters(), lr=lr)
for epoch in range(4):
    for begin in range(0, len(inputs), batch):
        optimizer.zero_grad()
        loss = ((net(inputs[begin:begin + batch]) - wanted[begin:begin + batch]) ** 2).mean()
        loss.backward()
        optimizer.step()
"""
TAPE = """
import keras
import tensorflow as tf
optimizer = keras.optimizers.SGD(0.001)

@tf.function
def step(x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
    return loss

for turn in range(150):
    loss = step(x, y)
"""


@pytest.fixture(scope="module")
def meter() -> Meter:
    made = Meter()
    watch(made)
    return made


@pytest.fixture
def names() -> dict[str, Any]:
    x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
    return {"__name__": "__main__", "x": x, "y": x.sum(1, keepdims=True)}


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    plan = Plan(space={"lr": Range(1e-5, 0.3, log=True)}, trials=7, pruner="asha", first={"lr": 0.001})
    opened = Study(str(tmp_path), "study", plan)
    opened.begin("run")
    yield opened
    opened.close()


def tried(study: Study, cell: Cell) -> list[Tried]:
    with cell.ready():
        InTurn().run(study, cell.run, lambda each: None)
    return study.tried()


def check(found: list[Tried], metric: str) -> None:
    """Values fell with better rates, and what was pruned was behind."""
    assert [each.error for each in found] == [""] * 7
    complete = [each for each in found if each.state == "complete"]
    assert {each.metric for each in complete} == {metric}
    assert min(each.value or 0.0 for each in complete) < (complete[0].value or 0.0) / 2
    assert any(each.state == "pruned" and len(each.reports) < 3 for each in found)


def test_keras_tells_val_loss_and_its_model_begins_anew(
    meter: Meter, names: dict[str, Any], study: Study, tmp_path: Path
) -> None:
    import keras

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9), "mse")
    names["model"] = model
    before = [weight.copy() for weight in model.get_weights()]
    cell = Cell(code=KERAS, namespace=names, meter=meter, folder=str(tmp_path))
    check(tried(study, cell), "val_loss")
    assert all(np.array_equal(now, then) for now, then in zip(model.get_weights(), before, strict=True))
    assert float(model.optimizer.learning_rate) == 0.5
    assert int(model.optimizer.iterations) == 0

    with cell.ready():
        rate = learning_rate.find_rate(lambda: cell.probe({}), meter)
    assert 1e-3 < rate.rate < rate.most <= 10
    assert "<svg" in rate._repr_html_()
    assert all(np.array_equal(now, then) for now, then in zip(model.get_weights(), before, strict=True))


def test_torch_tells_its_loss_and_its_module_begins_anew(
    meter: Meter, names: dict[str, Any], study: Study, tmp_path: Path
) -> None:
    import torch

    net = torch.nn.Linear(8, 1)
    names["net"] = net
    before = {name: value.clone() for name, value in net.state_dict().items()}
    cell = Cell(code=TORCH, namespace=names, meter=meter, folder=str(tmp_path))
    check(tried(study, cell), "loss")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.weight.grad is None

    with cell.ready():
        rate = learning_rate.find_rate(lambda: cell.probe({}), meter)
        sizes = batch_size.find_batch(lambda size: cell.probe({"batch": size}), meter, 8)
    assert 1e-3 < rate.rate < rate.most <= 10
    assert [size for size, _, _ in sizes.rows][:3] == [8, 16, 32]
    assert sizes.batch in [size for size, speed, _ in sizes.rows if speed]
    assert sizes.rows[-1][0] <= 256  # all the data at once
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_weights_without_a_module_begin_anew(meter: Meter, names: dict[str, Any], tmp_path: Path) -> None:
    import keras
    import tensorflow as tf
    import torch

    weight, variable = torch.ones(3, requires_grad=True), tf.Variable([1.0, 2.0])
    optimizer = keras.optimizers.Adagrad(0.5)
    names |= {"weight": weight, "variable": variable, "optimizer": optimizer}
    code = (
        "weight.sum().backward()\nweight.data -= weight.grad\noptimizer.apply([variable * 1.0], [variable])\n"
        "loss = float(weight.detach().sum()) + float(variable.numpy().sum())"
    )
    cell = Cell(code=code, namespace=names, meter=meter, folder=str(tmp_path), metric="loss")
    with cell.ready():
        first, second = (cell.run(number, {}, None) for number in range(2))
    assert first.value == second.value != 6.0
    assert weight.tolist() == [1.0, 1.0, 1.0]
    assert weight.grad is None
    assert variable.numpy().tolist() == [1.0, 2.0]
    assert int(optimizer.iterations) == 0

    names["late"] = keras.Sequential([keras.layers.Dense(1)])
    cell = Cell(code="late(x)\nloss = 1.0", namespace=names, meter=meter, folder=str(tmp_path), metric="loss")
    with cell.ready(), pytest.raises(ConfigError, match="got its weights in a trial"):
        cell.run(0, {}, None)


def test_the_rate_of_a_step_written_by_hand(meter: Meter, names: dict[str, Any], tmp_path: Path) -> None:
    import keras

    names["model"] = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    cell = Cell(code=TAPE, namespace=names, meter=meter, folder=str(tmp_path))
    with cell.ready():
        rate = learning_rate.find_rate(lambda: cell.probe({}), meter)
    assert 1e-3 < rate.rate < rate.most <= 10
    code = TAPE.replace("SGD(0.001)", "SGD(keras.optimizers.schedules.CosineDecay(0.001, 100))")
    cell = Cell(code=code, namespace=names, meter=meter, folder=str(tmp_path))
    with cell.ready(), pytest.raises(ConfigError, match="follows a schedule"):
        learning_rate.find_rate(lambda: cell.probe({}), meter)


def test_memory_that_runs_out_ends_the_search_for_a_batch(meter: Meter, names: dict[str, Any], tmp_path: Path) -> None:
    import torch

    names["net"] = torch.nn.Linear(8, 1)
    code = TORCH.replace("for epoch", "if batch > 16:\n    raise MemoryError('full')\nfor epoch")
    cell = Cell(code=code, namespace=names, meter=meter, folder=str(tmp_path))
    with cell.ready():
        found = batch_size.find_batch(lambda size: cell.probe({"batch": size}), meter, 8)
        assert found.rows[-1] == (32, None, "out of memory: MemoryError")
        assert found.batch <= 16
        with pytest.raises(ConfigError, match="a batch of 32: out of memory"):
            batch_size.find_batch(lambda size: cell.probe({"batch": size}), meter, 32)


def test_a_cell_that_does_not_train_has_no_rate(meter: Meter, names: dict[str, Any], tmp_path: Path) -> None:
    cell = Cell(code="lr = 1", namespace=names, meter=meter, folder=str(tmp_path))
    with cell.ready(), pytest.raises(ConfigError, match="made 0 steps"):
        learning_rate.find_rate(lambda: cell.probe({}), meter)
    points = [(10.0**each, 1.0 + each) for each in range(-6, 2)]
    with pytest.raises(ConfigError, match="did not fall"):
        learning_rate.judged(points)
