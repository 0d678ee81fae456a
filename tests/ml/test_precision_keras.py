"""`--precision`, `--compile` and `--gradients` on unchanged Keras cells: `fit`, a GradientTape, an LSTM, attention."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from lepton_jupyter.ml import gradients, precision
from lepton_jupyter.ml.precision import limits, processors


@pytest.fixture(autouse=True)
def same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any processor is asked."""
    monkeypatch.setattr(processors, "halves", lambda: {"bf16", "fp16"})


WORDS = np.random.default_rng(0).integers(50, size=(128, 6))
LABELS = (WORDS[:, 0] > 25).astype("int64")


class Attention(keras.Model):
    """A small Transformer, written as a class."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.attention, self.norm = (
            layers.Embedding(50, 16),
            layers.MultiHeadAttention(2, 8),
            layers.LayerNormalization(),
        )
        self.pool, self.out = layers.GlobalAveragePooling1D(), layers.Dense(2)

    def call(self, words: Any) -> Any:
        value = self.words(words)
        return self.out(self.pool(self.norm(value + self.attention(value, value))))


def made(kind: str) -> Any:
    keras.utils.set_random_seed(0)
    if kind == "attention":
        return Attention()
    middle = [layers.LSTM(16)] if kind == "lstm" else [layers.Flatten(), layers.Dropout(0.1), layers.Dense(16, "relu")]
    return keras.Sequential([keras.Input((6,)), layers.Embedding(50, 16), *middle, layers.Dense(2)])


def fit(model: Any, epochs: int = 8) -> list[float]:
    model.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses: list[float] = model.fit(WORDS, LABELS, batch_size=32, epochs=epochs, verbose=0).history["loss"]
    return losses


def tape(model: Any) -> list[float]:
    optimizer = keras.optimizers.Adam(0.02)
    criterion = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def train_step(words: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            answer = model(words, training=True)
            loss = criterion(labels, answer)
        found = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(found, model.trainable_variables, strict=True))
        return loss

    return [float(train_step(WORDS, LABELS)) for _ in range(20)]


CELLS = {"fit": (fit, "plain"), "tape": (tape, "plain"), "lstm": (fit, "lstm"), "attention": (fit, "attention")}


@pytest.mark.parametrize("name", CELLS)
def test_cells_train_in_half_precision_with_gradients_looked_after(name: str) -> None:
    run, kind = CELLS[name]
    said: list[str] = []
    earlier = made(kind)  # a policy would leave it float32
    with precision.around("bf16", "off", said.append), gradients.around("auto", said.append):
        losses = run(earlier)
        assert earlier(WORDS[:2]).dtype == tf.float32
    assert losses[-1] < losses[0] / 1.5
    assert "clipped" in said[-1]
    assert {layer.dtype_policy.name for layer in earlier._flatten_layers()} == {"float32"}
    answer = earlier(WORDS)
    assert keras.ops.mean(keras.losses.sparse_categorical_crossentropy(LABELS, answer, from_logits=True)) < losses[0]


def test_half_precision_is_used_and_gone_afterwards() -> None:
    seen: list[str] = []

    class Watching(layers.Dense):
        def call(self, value: Any) -> Any:
            seen.append(keras.backend.standardize_dtype(value.dtype))
            return super().call(value)

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), layers.Embedding(50, 8), layers.Flatten(), Watching(8), layers.Dense(2)]
    )
    seen.clear()
    for mode, wanted in (("bf16", "bfloat16"), ("fp16", "float16")):
        with precision.around(mode, "off", print):
            fit(model, 1)
        assert seen.pop() == wanted
        fit(model, 1)
        assert seen.pop() == "float32"
        assert type(model.optimizer) is keras.optimizers.Adam


def test_fp16_scales_the_loss() -> None:
    with precision.around("fp16", "off", print):
        model = made("plain")
        losses = fit(model)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        by_hand = tape(made("plain"))
    assert losses[-1] < losses[0] / 1.5
    assert by_hand[-1] < by_hand[0] / 1.5


def test_a_probe_chooses_and_training_goes_on_as_if_there_had_been_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SHARE", 1e9)  # however little is left
    monkeypatch.setattr(limits, "TURNS", 1)
    said: list[str] = []
    wanted = fit(made("plain"))
    monkeypatch.setattr(limits, "GAIN", 0.0)  # nothing is fast enough
    with precision.around("auto", "off", said.append):
        assert fit(made("plain")) == wanted
    assert said[0].startswith("precision: fp32 ")
    assert "stays, it is the fastest here" in said[0]
    assert "bf16" in said[0]
    monkeypatch.setattr(limits, "GAIN", 1e9)  # whatever agrees is
    with precision.around("auto", "off", said.append):
        losses = fit(made("plain"))
    assert "the loss differs by 0." in said[1]
    assert losses != wanted
    assert losses[-1] < losses[0] / 1.5


def test_what_cannot_be_probed_keeps_fp32_and_hears_why() -> None:
    said: list[str] = []
    with precision.around("auto", "off", said.append):
        tape(made("plain"))
    assert said == [
        "precision: fp32 stays in the loop written by hand: its GradientTape step cannot be run again without running "
        "the cell's own lines twice"
    ]
    with precision.around("auto", "off", said.append):
        fit(made("plain"), 2)
    assert said[1].startswith("precision: fp32 stays: the 6 steps that are left are too few for a probe to pay, which")


def test_where_fit_does_not_know_its_steps_a_probe_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def batches() -> Any:
        while True:
            yield WORDS[:32], LABELS[:32]

    def unending(steps: int) -> None:
        model = made("plain")
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        end = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: batch + 1 == steps and setattr(model, "stop_training", True)
        )
        model.fit(batches(), shuffle=False, callbacks=[end], verbose=0)

    said: list[str] = []
    with precision.around("auto", "off", said.append):
        unending(20)
    # Tracing takes longer than twenty steps.
    assert said == ["precision: fp32 stays: the training ended after 20 steps, before a probe could pay"]
    monkeypatch.setattr(limits, "SHARE", 1e9)
    with precision.around("auto", "off", said.append):
        unending(20)
    assert "the probe took" in said[1]
    monkeypatch.setattr(processors, "halves", frozenset)
    with precision.around("auto", "off", said.append):
        unending(5)
    assert said[2:] == ["precision: fp32 stays: this processor has no instructions for bf16 and fp16"]
