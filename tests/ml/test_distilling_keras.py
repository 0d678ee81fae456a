"""Keras models: students with fewer layers, hints from the teacher's layers, and two of each four weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import frameworks
from lepton_jupyter.ml.compressors._parts_keras import shallower, until
from lepton_jupyter.ml.compressors.distilling import Distilling
from lepton_jupyter.ml.compressors.semi_structured import SemiStructured

from .keras_digits import PICTURES, right, task, trained

TWO = (PICTURES[:2],)


def deep() -> keras.Model:
    """Three equal layers in a row, in a graph."""
    pictures = keras.Input((8, 8))
    x = layers.Dense(16, activation="relu", name="first")(layers.Flatten()(pictures))
    for name in ("one", "two", "three"):
        x = layers.Dense(16, activation="relu", name=name)(x)
    return keras.Model(pictures, layers.Dense(10, name="answer")(x))


def in_a_row() -> keras.Model:
    parts = [layers.Flatten(), *(layers.Dense(64, activation="relu", name=name) for name in ("one", "two", "three"))]
    return keras.Sequential([keras.Input((8, 8)), *parts, layers.Dense(10)])


@pytest.mark.parametrize("make", [deep, in_a_row], ids=["graph", "sequential"])
def test_layers_that_repeat_are_taken_out(make: Any) -> None:
    model = make()
    student = shallower(model, 0.6, TWO)
    names = [layer.name for layer in student.layers]
    assert {"one", "three"} < set(names)
    assert "two" not in names
    assert np.array_equal(student.get_layer("three").kernel, model.get_layer("three").kernel)
    assert student.get_layer("three").kernel is not model.get_layer("three").kernel
    assert frameworks.of(student).predict(student, TWO).shape == (2, 10)


def test_a_student_of_fewer_layers_learns() -> None:
    student = Distilling(student=None, depth=0.6, keep=1.0, rounds=6, alpha=0.0).compress(deep(), task())
    assert right(student).mean() > 0.75


def test_hints_bring_a_layer_near_to_the_teachers() -> None:
    teacher = trained("mlp")
    hinted = teacher.layers[-2].name
    student = deep()
    taught = Distilling(student=student, rounds=1, hints=((hinted, "one"),), hint_rounds=4).compress(teacher, task())

    def given(model: Any, layer: str) -> Any:
        return frameworks.of(model).predict(until(model, layer), (PICTURES,))

    wanted = given(teacher, hinted)

    def unexplained(model: Any) -> float:
        mine = np.hstack([given(model, "one"), np.ones((len(PICTURES), 1))])
        return float((wanted - mine @ np.linalg.lstsq(mine, wanted, rcond=None)[0]).var() / wanted.var())

    assert unexplained(taught) < 0.8 * unexplained(student)
    assert [layer.name for layer in taught.layers] == [layer.name for layer in student.layers]


def test_a_layer_that_is_not_there_and_blocks_that_are_not_are_told() -> None:
    with pytest.raises(ConfigError, match="'one', 'two'"):
        until(deep(), "nobody")
    with pytest.raises(ConfigError, match="student="):
        shallower(keras.Sequential([keras.Input((8, 8)), layers.Flatten(), layers.Dense(10)]), 0.5, TWO)


@pytest.mark.parametrize("kind", ["cnn", "lstm"])
def test_two_of_each_four_inputs_are_left(kind: str) -> None:
    small = SemiStructured(rounds=2).compress(trained(kind), task())
    for weight in frameworks.of(small).weights(small):
        if len(weight.shape) >= 2 and weight.shape[-2] >= 4:
            rows = np.moveaxis(weight.read(), -2, -1).reshape(-1, weight.shape[-2])
            assert np.count_nonzero(rows.reshape(-1, 4), axis=1).max() == 2, weight.name
    assert right(small).mean() > right(trained(kind)).mean() - 0.06
