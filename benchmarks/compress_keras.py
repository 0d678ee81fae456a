"""Whole pipelines of Keras models against fp32 eager: narrowed, then 8 bits in LiteRT.

`python -m benchmarks.compress_keras --data-dir FOLDER`; a process of its own, since TensorFlow and PyTorch had better
not share one. The nets are those of compress_nets.py.
"""

from __future__ import annotations

import os

# Before they are imported. What TensorFlow says of itself helps nobody here.
os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from lepton_jupyter.ml._quiet import quiet
from lepton_jupyter.ml.compressors import Task
from lepton_jupyter.ml.compressors.litert import LiteRT
from lepton_jupyter.ml.compressors.structured import Structured
from lepton_jupyter.ml.frameworks.litert import LiteRtModel

from ._table import Row, in_turn, table
from .compress_automatic import automatic
from .compress_data import SIDE, Data, arrays
from .compress_rows import GOALS, again, error, row, timed

#: Training pictures: fewer than PyTorch's, since all is trained on one thread, which TensorFlow can't change any more.
COUNT = 15_000
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def wide(width: int = 2048) -> keras.Model:
    """A perceptron with two hidden layers of 2048."""
    hidden = [layers.Dense(width, activation="relu") for _ in range(2)]
    return keras.Sequential([keras.Input((SIDE, SIDE, 1)), layers.Flatten(), *hidden, layers.Dense(10)])


def convolutions() -> keras.Model:
    """Three convolutions of 32, 64 and 128 channels with batch normalisation, and one layer after them.

    Its momentum is PyTorch's: Keras' own 0.99 would not settle within the steps that are made here.
    """
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1))])
    for width in (32, 64, 128):
        model.add(layers.Conv2D(width, 3, padding="same"))
        for layer in (layers.BatchNormalization(momentum=0.9), layers.ReLU(), layers.MaxPooling2D()):
            model.add(layer)
    model.add(layers.Flatten())
    model.add(layers.Dense(10))
    return model


def loss(model: keras.Model, pictures: Any, digits: Any) -> Any:
    """What shall shrink while the narrowed model is trained on."""
    return CROSS_ENTROPY(digits, model(pictures, training=True))


def speeds(given: Data, quick: bool = False) -> list[Row]:
    """One thread each, all in turn, two calls a turn."""
    given = given.few(COUNT)
    pictures, tests = _last_channel(given)
    rows = []
    for name, kind, keep in (("3 convolutions", convolutions, 0.375), ("perceptron, 2 × 2048", wide, 0.25)):
        base = _trained(kind, given.digits, pictures, quick)
        task = Task(data=(pictures, given.digits), loss=loss, seed=1, teacher=base)
        narrow = Structured(keep=keep, rounds=1 if quick else 4, multiple=8).compress(base, task)
        ours = LiteRT(threads=1).compress(narrow, task)
        by_hand = LiteRtModel(dynamic(base), 1)
        models = {"eager": base, "ours": ours, "TFLite int8": by_hand}
        errors = {each: error(model, tests, given.test_digits) for each, model in models.items()}
        functions = {"tf.function": _function(base, xla=False), "with XLA": _function(base, xla=True)}
        for batch, goal in GOALS.items():
            part = tests[:batch]
            tensor = tf.constant(part)
            calls: dict[str, Any] = {
                "ours": ours.bound(part),
                "eager": lambda tensor=tensor, base=base: base(tensor, training=False),
                "predict_on_batch": lambda part=part, base=base: base.predict_on_batch(part),
                **{each: lambda f=f, tensor=tensor: f(tensor) for each, f in functions.items()},
                "TFLite int8": by_hand.bound(part),
            }
            found = in_turn(
                {each: again(timed(call)) for each, call in calls.items()}, rounds=3 if quick else 31, warm_up=5
            )
            title = f"Keras, {name}, batch {batch}: narrowed + 8 bits in LiteRT against fp32 eager, 1 thread"
            rows.append(row(title, goal, found, errors, quick))
    return rows


def searched(given: Data, quick: bool = False) -> list[Row]:
    """The automatic mode."""
    few = given.few(COUNT)
    pictures, tests = _last_channel(few)
    base = _trained(convolutions, few.digits, pictures, quick)
    name = f"Keras, 3 convolutions on {given.name}"
    return automatic(base, name, (pictures, few.digits), (tests, few.test_digits), quick)


def _last_channel(given: Data) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and test pictures with the channel's axis where TensorFlow has it."""
    return given.pictures.transpose(0, 2, 3, 1).copy(), given.test_pictures.transpose(0, 2, 3, 1).copy()


def _trained(kind: Callable[[], keras.Model], digits: np.ndarray, pictures: np.ndarray, quick: bool) -> keras.Model:
    """The model in 32 bits that all is compared with."""
    keras.utils.set_random_seed(0)
    model = kind()
    model.compile("adam", CROSS_ENTROPY)
    model.fit(pictures, digits, batch_size=128, epochs=1 if quick else 2, verbose=0)
    return model


def _function(model: keras.Model, *, xla: bool) -> Callable[[Any], Any]:
    def answer(pictures: Any) -> Any:
        return model(pictures, training=False)

    found: Callable[[Any], Any] = tf.function(answer, jit_compile=xla)
    return found


def dynamic(model: keras.Model) -> bytes:
    """TensorFlow's own converter with its default optimization, as its documentation has it."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    with quiet():
        return bytes(converter.convert())


FIGURES = {"speed": speeds, "automatic": searched}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compress_keras", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("figures", nargs="*", default=FIGURES, metavar="FIGURE", help=f"of: {', '.join(FIGURES)}")
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST's four .gz files; else scikit-learn's digits")
    parser.add_argument("--validate", action="store_true", help="test on a tenth of the training pictures, to choose")
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, measures nothing")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, as make bench reads them")
    asked = parser.parse_args(argv)
    if unknown := set(asked.figures) - set(FIGURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(FIGURES)}")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    given = arrays(asked.data_dir, validate=asked.validate, quick=asked.quick)
    rows = [row for figure in asked.figures for row in FIGURES[figure](given, asked.quick)]
    print(json.dumps([asdict(row) for row in rows]) if asked.json else table(rows, asked.quick))
    return 0


if __name__ == "__main__":
    sys.exit(main())
