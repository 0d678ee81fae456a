"""Gradients of unchanged Keras cells that are looked after: `fit`, and a loop with a GradientTape."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lepton_jupyter.ml import gradients

X = np.random.default_rng(0).normal(size=(96, 8)).astype("float32")
Y = X.sum(1, keepdims=True)


class Hungry(keras.layers.Layer):
    """Asks for an absurd amount of memory where there are more than so many rows: TensorFlow's allocator fails."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def call(self, value: Any) -> Any:
        size = tf.where(tf.shape(value, tf.int64)[0] > self.rows, tf.constant(1 << 46, tf.int64), 1)
        return value + tf.stop_gradient(tf.fill([size], value[0, 0])[0] - value[0, 0])


def made(*extra: Any, **options: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), *extra, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.02, momentum=0.9, **options), "mse", metrics=["mae"], jit_compile=False)
    return model


def fit(model: Any, x: Any = X, y: Any = Y, epochs: int = 4) -> dict[str, list[float]]:
    history: dict[str, list[float]] = model.fit(x, y, batch_size=32, epochs=epochs, shuffle=False, verbose=0).history
    return history


def test_a_batch_that_is_not_finite_changes_nothing() -> None:
    said: list[str] = []
    bad = Y.copy()
    bad[40] = np.nan
    with gradients.around("auto", said.append):
        model = made(global_clipnorm=5.0)
        fit(model, X, bad, epochs=3)
        assert int(model.optimizer.iterations) == 6
    assert np.isfinite(model.predict(X, verbose=0)).all()
    assert said == ["gradients: 3 steps were left out, gradients not finite"]
    fit(model, X, bad, epochs=1)
    assert np.isnan(model.predict(X, verbose=0)).all()  # nobody looks any more


def test_autoclip_in_a_compiled_loop_written_by_hand() -> None:
    said: list[str] = []
    model = made()
    optimizer = keras.optimizers.SGD(0.5)

    @tf.function
    def train_step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        found = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(found, model.trainable_variables, strict=True))
        return tf.linalg.global_norm(found)

    before = [each.numpy() for each in model.trainable_variables]
    with gradients.around("auto", said.append):
        norms = [float(train_step(X, Y * 100)) for _ in range(12)]
        assert np.isfinite(norms).all()
    assert said[0].startswith("gradients: gradients are clipped to the 10th percentile of their last 1000 norms")
    moved = np.sqrt(sum(((a - b.numpy()) ** 2).sum() for a, b in zip(before, model.trainable_variables, strict=True)))
    assert 0 < moved < 0.5 * sum(norms)
    assert "clipped, the last to a norm of" in said[-1]
    count = said[-1]
    train_step(X, Y * 1e30)
    assert said[-1] == count


def test_a_batch_without_memory_is_taken_in_parts() -> None:
    said: list[str] = []
    plain = fit(made(global_clipnorm=5.0))
    with pytest.raises(tf.errors.ResourceExhaustedError):
        fit(made(Hungry(10), global_clipnorm=5.0))
    with gradients.around("auto", said.append):
        model = made(Hungry(10), global_clipnorm=5.0)
        found = fit(model, X[:90], Y[:90])
    wanted = fit(made(global_clipnorm=5.0), X[:90], Y[:90])
    assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
    assert found["mae"] == pytest.approx(wanted["mae"], rel=1e-4)
    assert plain["loss"] != wanted["loss"]
    assert "takes it in 2 parts of 16" in said[0]
    assert "takes it in 4 parts of 8" in said[1]
    assert said[-1] == "gradients: 12 steps were made in parts, the last in 4"


def test_batch_statistics_cannot_be_taken_in_parts() -> None:
    said: list[str] = []
    with gradients.around("auto", said.append), pytest.raises(tf.errors.ResourceExhaustedError):
        fit(made(keras.layers.BatchNormalization(), Hungry(10)))
    assert "BatchNormalization takes its statistics from the whole batch" in said[-1]
