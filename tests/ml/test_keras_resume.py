"""A `fit` that breaks off at some step and goes on, in a process of its own or not, has the losses of a whole one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.kernel.checkpoints import Checkpoints, Folder, of_keras

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")  # its own, of NumPy 2
X = np.random.default_rng(0).normal(size=(100, 4)).astype("float32")
Y = X.sum(1)


#: By the epochs that are behind: what the user is told.
TOLD = {
    "": [],
    "2": ["--resume: `fit` goes on after epoch 2 of 4"],
    "3": ["--resume: `fit` goes on after epoch 3 of 4"],
    "4, 1": [
        "--resume: `fit` had ended after epoch 4; its model is as it was then",
        "--resume: `fit` goes on after epoch 1 of 9",
    ],
}


class Broken(Exception):
    """Stands for whatever ends a process."""


class Break(keras.callbacks.Callback):
    """Breaks off at a step of the cell, counted over all its `fit`s."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._left = at

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._left -= 1
        if self._left == 0:
            raise Broken


class Sequence(keras.utils.PyDataset):
    """In an order of its own, which it draws from NumPy after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self._order = np.arange(100)

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Any:
        taken = self._order[index * 16 : index * 16 + 16]
        return X[taken], Y[taken]

    def on_epoch_end(self) -> None:
        np.random.shuffle(self._order)


def arrays() -> dict[str, Any]:
    return {"x": X, "y": Y, "batch_size": 16, "validation_split": 0.1}


def shuffled() -> dict[str, Any]:
    data = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(100).batch(16)
    return {"x": data, "validation_data": (X, Y)}


def endless() -> dict[str, Any]:
    data = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(100).repeat().batch(16)
    return {"x": data, "steps_per_epoch": 5}


def unknown_length() -> dict[str, Any]:
    data = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(100).batch(16)
    return {"x": data.filter(lambda x, _: tf.shape(x)[0] == 16)}


def own_order() -> dict[str, Any]:
    return {"x": Sequence()}


class Cell:
    """Runs of one cell in this process, as if each had a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._runs = str(folder), 0
        self.told: list[str] = []

    def run(self, data: Callable[[], dict[str, Any]], broken_at: int = 0, *, resume: bool = True, **other: Any) -> Any:
        """What two `fit`s of one model give, one of which may stop early: epochs, all values, the model's weights."""
        self._runs += 1
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        kept = Checkpoints(Folder(self._folder, f"run{self._runs}"), resume, {}, self.told.append)
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
        )
        model.compile("adam", "mse", **other)
        broken = Break(broken_at)
        slower = keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.5)
        early = keras.callbacks.EarlyStopping("loss", patience=1, min_delta=0.3, restore_best_weights=True)
        found = []
        try:
            for mine, epochs in (([slower, broken], 4), ([early, broken], 9)):
                keeps = [kept.of_fit(mine)] if resume else []
                history = model.fit(**data(), epochs=epochs, verbose=0, callbacks=[*mine, *keeps])
                found.append((history.epoch, history.history))
        finally:
            kept.settle()
        return found, [each.tobytes() for each in model.get_weights()]


@pytest.mark.filterwarnings("ignore:Your input ran out of data", "ignore:`shuffle=True` was passed")
@pytest.mark.parametrize(
    ("data", "broken"),
    [
        (arrays, {1: "", 24: "3"}),  # an epoch has 6 steps
        (shuffled, {17: "2"}),
        (endless, {13: "2"}),
        (unknown_length, {15: "2"}),
        (own_order, {36: "4, 1"}),
    ],
)
def test_it_goes_on_as_if_nothing_had_been(
    data: Callable[[], dict[str, Any]], broken: dict[int, str], tmp_path: Path
) -> None:
    (first, second), _ = whole = Cell(tmp_path / "whole").run(data, resume=False)
    assert first[0] == [0, 1, 2, 3]
    assert 1 < len(second[0]) < 9, "was to stop early"
    for at, behind in broken.items():
        cell = Cell(tmp_path / str(at))
        with pytest.raises(Broken):
            cell.run(data, at)
        assert cell.run(data) == whole, at
        assert cell.told == TOLD[behind]
    assert cell.run(data) == whole  # nothing is trained again


def test_broken_again_and_with_steps_in_one_call(tmp_path: Path) -> None:
    whole = Cell(tmp_path / "whole").run(arrays, resume=False, steps_per_execution=4)
    cell = Cell(tmp_path / "cell")
    for at in (5, 3, 4):
        with pytest.raises(Broken):
            cell.run(arrays, at, steps_per_execution=4)
    assert cell.run(arrays, steps_per_execution=4) == whole
    assert [each.split()[2] for each in cell.told] == ["goes", "goes", "had"]


def test_more_epochs_are_added(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    cell.run(arrays)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse")
    told: list[str] = []
    kept = Checkpoints(Folder(str(tmp_path), "more"), True, {}, told.append)
    slower = keras.callbacks.ReduceLROnPlateau("loss")
    history = model.fit(**arrays(), epochs=6, verbose=0, callbacks=[slower, kept.of_fit([slower])])
    kept.settle()
    assert history.epoch == [0, 1, 2, 3, 4, 5]
    assert len(history.history["val_loss"]) == 6
    assert told == ["--resume: `fit` goes on after epoch 4 of 6"]
    assert model.fit(**arrays(), epochs=1, verbose=0).epoch == [0], "the next one begins at its beginning"


def test_another_model_is_said(tmp_path: Path) -> None:
    Cell(tmp_path).run(arrays)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    kept = Checkpoints(Folder(str(tmp_path), "other"), True, {}, print)
    with pytest.raises(ConfigError, match="other variables than in the checkpoint") as caught:
        model.fit(X, X[:, :3], verbose=0, callbacks=[kept.of_fit([])])
    assert "without --resume" in str(caught.value.hint)


def test_data_that_takes_too_long_to_go_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_keras, "SEARCH", 0.0)
    cell = Cell(tmp_path)
    with pytest.raises(Broken):
        cell.run(arrays, 15)
    (first, _), _ = cell.run(arrays)
    assert first[0] == [0, 1, 2, 3]
    assert cell.told == [
        "--resume: `fit` goes on after epoch 2 of 4",
        "--resume: the order of the examples is drawn anew, it could not be found",
    ]
