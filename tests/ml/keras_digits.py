"""Small Keras models of four kinds, trained on scikit-learn's digits: what the tests of ml/ compress."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

from lepton_jupyter.ml import frameworks
from lepton_jupyter.ml.compressors import Task

PICTURES, DIGITS = (lambda found: ((found.images / 16).astype(np.float32), found.target))(load_digits())
TRAIN, TEST = slice(0, 1300), slice(1300, None)
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def mlp() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8)),
            layers.Flatten(),
            layers.Dense(100, activation="relu"),
            layers.Dense(60, activation="relu"),
            layers.Dense(10),
        ]
    )


def cnn() -> keras.Model:
    """With batch normalisation, and a sum of two branches: their channels can only go together."""
    pictures = keras.Input((8, 8))
    x = layers.Conv2D(24, 3, padding="same")(layers.Reshape((8, 8, 1))(pictures))
    x = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x)))
    x = layers.Add()([x, layers.Conv2D(24, 3, padding="same", activation="relu")(x)])
    return keras.Model(pictures, layers.Dense(10)(layers.Flatten()(layers.MaxPooling2D()(x))))


def lstm() -> keras.Model:
    """Reads a picture row by row."""
    pictures = keras.Input((8, 8))
    return keras.Model(pictures, layers.Dense(10)(layers.LSTM(48)(pictures)))


@keras.saving.register_keras_serializable("tests")
class Places(layers.Layer):
    """Where a row is: a vector to add, learned."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.places = self.add_weight(name="places", shape=shape[1:], initializer="zeros")

    def call(self, x: Any) -> Any:
        return x + self.places


def transformer() -> keras.Model:
    """Looks at all rows at once."""
    pictures = keras.Input((8, 8))
    x = Places()(layers.Dense(32)(pictures))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 8)(x, x))
    inner = layers.Dense(32)(layers.Dense(64, activation="relu")(x))
    x = layers.LayerNormalization()(layers.Add()([x, inner]))
    return keras.Model(pictures, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))


KINDS: dict[str, Callable[[], keras.Model]] = {"mlp": mlp, "cnn": cnn, "lstm": lstm, "transformer": transformer}


def loss(model: Any, pictures: Any, digits: Any) -> Any:
    return CROSS_ENTROPY(digits, model(pictures))


def task(**changes: Any) -> Task:
    given: dict[str, Any] = {"data": (PICTURES[TRAIN], DIGITS[TRAIN]), "loss": loss, "rate": 1e-2, "batch": 100}
    return Task(**(given | changes))


def right(model: Any) -> np.ndarray[Any, Any]:
    """1 for each test picture that is told right, else 0."""
    found = frameworks.of(model).predict(model, (PICTURES[TEST],))
    return (found.argmax(1) == DIGITS[TEST]).astype(float)


def fit(model: Any, epochs: int = 1) -> None:
    model.fit(PICTURES[TRAIN], DIGITS[TRAIN], batch_size=100, epochs=epochs, verbose=0)


@cache
def trained(kind: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = KINDS[kind]()
    model.compile(keras.optimizers.Adam(1e-2), CROSS_ENTROPY)
    fit(model, 16 if kind == "lstm" else 10)
    return model
