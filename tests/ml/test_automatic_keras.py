"""The automatic mode on Keras models: data of TensorFlow's, the compiled loss, answers that come from LiteRT."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import compress, defaults, examples, frameworks

from .keras_digits import DIGITS, PICTURES, TEST, trained
from .test_automatic import check

PAIRS = tf.data.Dataset.from_tensor_slices((PICTURES[:50], DIGITS[:50]))


@pytest.mark.parametrize("data", [PAIRS, PAIRS.batch(16)], ids=["one by one", "batches"])
def test_a_dataset_becomes_arrays(data: Any) -> None:
    inputs, targets = examples.arrays(data)
    assert (inputs == PICTURES[:50]).all()
    assert (targets == DIGITS[:50]).all()
    vectors = data.map(lambda x, y: (x, tf.one_hot(y, 10)))
    assert examples.arrays(vectors)[1].shape == (50, 10)


def test_a_keras_model_is_searched_for_too() -> None:
    """Its own metric, as users write it, also judges what LiteRT runs."""

    def accuracy(model: Any) -> float:
        return float((model.predict(PICTURES[TEST], verbose=0).argmax(1) == DIGITS[TEST]).mean())

    report = compress(trained("mlp"), data=(PICTURES, DIGITS), evaluate=accuracy, trials=3, budget=100)
    check(report)
    assert any("Quantizing" in each.name and not each.why for each in report.tried)


@pytest.mark.parametrize(
    ("last", "own", "targets", "what"),
    [
        (keras.layers.Dense(10), None, DIGITS, "classes"),
        (keras.layers.Dense(10, "softmax"), "sparse_categorical_crossentropy", DIGITS, "classes"),
        (keras.layers.Dense(1, "sigmoid"), None, DIGITS > 4, "yes or no"),
        (keras.layers.Dense(1), "mae", DIGITS / 10, "numbers"),
    ],
    ids=["logits", "compiled", "probability", "mae"],
)
def test_the_loss_is_the_models_own_or_the_usual_one(last: Any, own: Any, targets: Any, what: str) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8, 8)), keras.layers.Flatten(), last.__class__.from_config(last.get_config())]
    )
    if own:
        model.compile(loss=own)
    data = examples.arrays((PICTURES, targets))
    means = defaults.answers(model, data)
    assert means.what == what
    loss, judge = defaults.loss(frameworks.of(model), model, means), defaults.metric(means, data)
    assert loss is not None
    before = judge(model).mean()
    step = frameworks.of(model).trainer(model, loss)
    losses = [step(0.01, data) for _ in range(40)]
    assert losses[-1] < losses[0]
    assert judge(model).mean() > before


def test_several_losses_must_be_given() -> None:
    model = trained("mlp")
    copy = frameworks.of(model).copy(model)
    copy.compile(loss=["mse"])
    means = defaults.answers(copy, (PICTURES[:99], DIGITS[:99]))
    with pytest.raises(ConfigError, match="loss="):
        defaults.loss(frameworks.of(copy), copy, means)
    assert np.isfinite(defaults.metric(means, (PICTURES[:99], DIGITS[:99]))(copy)).all()
