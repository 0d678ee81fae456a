"""Keras models on LiteRT: smaller, nearly as good, of any batch size; and what can't be converted says why."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import frameworks
from lepton_jupyter.ml.answering import in_kind
from lepton_jupyter.ml.compressing import run
from lepton_jupyter.ml.compressors import Task, _converting
from lepton_jupyter.ml.compressors.litert import LiteRT
from lepton_jupyter.ml.compressors.pruning import Pruning
from lepton_jupyter.ml.compressors.structured import Structured
from lepton_jupyter.ml.exporting import export
from lepton_jupyter.ml.frameworks.litert import LiteRtModel

from .keras_digits import KINDS, PICTURES, mlp, right, task, trained


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_eight_bits_answer_like_thirty_two(kind: str) -> None:
    model = trained(kind)
    fast = LiteRT(threads=1).compress(model, Task())
    assert right(fast).mean() > right(model).mean() - 0.02
    assert len(fast.data) < 4 * model.count_params()
    whole = frameworks.of(model).predict(model, (PICTURES[:37],))
    for batch in (1, 37, 5):
        assert np.abs(fast(PICTURES[:batch]) - whole[:batch]).max() < 0.1 * np.abs(whole).max()
    assert frameworks.of(fast).macs(fast, (PICTURES[:1],)) == frameworks.of(model).macs(model, (PICTURES[:1],))


@pytest.mark.parametrize(
    ("options", "bits"), [({"bits": 4}, 6), ({"bits": 4, "weights_only": True}, 6), ({"bits": 16}, 18)]
)
def test_other_bits(options: dict[str, Any], bits: int) -> None:
    model = trained("mlp")
    small = LiteRT(**options, threads=1).compress(model, task())
    assert right(small).mean() > right(model).mean() - 0.05
    assert len(small.data) < bits / 8 * model.count_params() + 3000


def test_narrowed_then_eight_bits_with_a_report() -> None:
    model = trained("mlp")
    steps = [Structured(keep=0.5, rounds=4), LiteRT(threads=1)]
    report = run(model, steps, task(), evaluate=right, rounds=3)
    assert [row.name for row in report.rows] == ["before", "compiled", "after"]
    assert report.after.sizes and report.before.sizes
    assert report.after.sizes.memory < report.before.sizes.memory / 6
    assert report.after.metric and report.before.metric
    assert report.after.metric.value > report.before.metric.value - 0.05
    assert all(latency.median > 0 for latency in report.after.latencies)


def test_it_is_a_file_and_travels(tmp_path: Path) -> None:
    small = LiteRT(bits=32, threads=1).compress(mlp(), Task())
    small.save(tmp_path / "model.tflite")
    loaded = LiteRtModel((tmp_path / "model.tflite").read_bytes())
    for again in (loaded, pickle.loads(pickle.dumps(small))):
        assert np.array_equal(again(PICTURES[:3]), small(PICTURES[:3]))
    timed = frameworks.of(small).runner(small)([PICTURES[:3]])
    small(PICTURES[3:6])
    timed()
    with pytest.raises(ConfigError, match=r"-1, 8, 8"):
        small(PICTURES[:3, :4])
    with pytest.raises(ConfigError, match="whole"):
        LiteRtModel(b"no model")
    with pytest.raises(ConfigError, match="before quantizing"):
        Pruning(rounds=1).compress(small, task())


def test_the_child_serves_on_and_is_replaced_when_it_dies() -> None:
    """It is started once, and again when somebody has ended it."""
    model = mlp()
    LiteRT(threads=1).compress(model, Task())
    process = _converting._CHILD._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    assert LiteRT(threads=1).compress(model, Task())(PICTURES[:1]).shape == (1, 10)
    other = _converting._CHILD._process
    assert other is not None
    assert other.pid != process.pid


def test_a_recurrent_model_of_any_length_is_made_for_the_examples() -> None:
    endless = keras.Input((None, 8))
    model = keras.Model(endless, layers.Bidirectional(layers.GRU(4, return_sequences=True))(endless))
    found = LiteRT(bits=32, threads=1).compress(model, task())
    assert found(PICTURES[:3]) == pytest.approx(frameworks.of(model).predict(model, (PICTURES[:3],)), abs=1e-5)


@keras.saving.register_keras_serializable("tests")
class Factors(layers.Layer):
    """With an operation that LiteRT has not."""

    def call(self, x: Any) -> Any:
        return keras.ops.qr(x)[0]


def test_what_cant_be_converted_is_named() -> None:
    given = keras.Input((8, 8))
    with pytest.raises(ConfigError, match="operation Qr"):
        LiteRT().compress(keras.Model(given, Factors()(given)), Task())
    endless = keras.Input((None, 8))
    with pytest.raises(ConfigError, match=r"shape of the model's inputs"):
        LiteRT().compress(keras.Model(endless, layers.LSTM(4, name="rows")(endless)), Task())
    with pytest.raises(ConfigError, match="5 bits"):
        LiteRT(bits=5)


def test_an_evaluate_of_keras_may_ask_with_arrays() -> None:
    fast = LiteRT(threads=1).compress(trained("mlp"), Task())
    assert in_kind(lambda model: model(PICTURES[:5]).numpy().shape)(fast) == (5, 10)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_format_that_keras_has_answers_as_the_model(kind: str, tmp_path: Path) -> None:
    model = trained(kind)
    found = export(model, tmp_path, inputs=(PICTURES[:64],))
    assert [each.format for each in found] == ["litert", "keras", "safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "model.safetensors", "model.tflite"]
    for each in found:
        assert each.agrees < 1e-4
        assert each.latency.median > 0
        assert each.bytes == each.path.stat().st_size < 4 * model.count_params() + 80_000
    assert not hasattr(keras.saving.load_model(tmp_path / "model.keras"), "optimizer")  # its slots are twice the model
    with pytest.raises(ConfigError, match="keras model does not become onnx"):
        export(model, tmp_path, formats=("onnx",), inputs=(PICTURES[:64],))
