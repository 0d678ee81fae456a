"""TensorFlow's tensors and data sets, and Keras models in safe mode. One file, since TensorFlow takes long to load."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from lepton_jupyter.data import values
from lepton_jupyter.data.values import Malformed, UnknownClass, Untransferable
from tests.unit.values._road import Road

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' own
X = np.random.default_rng(0).random((20, 4)).astype("f4")


@pytest.mark.parametrize(
    "tensor",
    [
        tf.constant([[1.0, 2.0]]), tf.constant(["a", "é"]), tf.constant(3, tf.int8), tf.constant([1.0], tf.bfloat16),
        tf.constant(True), tf.zeros((0, 3)), tf.constant(b"x\0"), tf.cast([1.0], tf.float16), tf.complex(1.0, 2.0),
        tf.zeros((100, 100)), tf.constant([1, 2], tf.uint64),
    ],
    ids=lambda tensor: f"{tensor.dtype.name}-{tensor.shape}",
)  # fmt: skip
def test_a_tensor(road: Road, tensor: Any) -> None:
    found = road.send(tensor)
    assert type(found) is type(tensor)
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert np.array_equal(found.numpy(), tensor.numpy())
    assert values.describe(tensor).startswith(f"{tensor.dtype.name} tensor")


def test_a_variable(road: Road) -> None:
    found = road.send(tf.Variable([[1.0, 2.0]], name="w", trainable=False, shape=tf.TensorShape([None, 2])))
    assert (found.name, found.trainable, found.shape.as_list()) == ("w:0", False, [None, 2])
    assert found.numpy().tolist() == [[1, 2]]


def test_ragged_and_sparse_tensors(road: Road) -> None:
    ragged = road.send(tf.ragged.constant([[[1], [2, 3]], []]))
    assert ragged.to_list() == [[[1], [2, 3]], []]
    sparse = road.send(tf.sparse.from_dense([[0, 1], [2, 0]]))
    assert tf.sparse.to_dense(sparse).numpy().tolist() == [[0, 1], [2, 0]]


def test_a_data_set_of_tensors(road: Road) -> None:
    data = tf.data.Dataset.from_tensor_slices((tf.range(10), {"x": tf.range(10)}))
    data = data.skip(1).take(8).batch(3, drop_remainder=True).repeat(2).prefetch(tf.data.AUTOTUNE)
    found = road.send(data)
    assert found.element_spec == data.element_spec
    assert [one.numpy().tolist() for one, _ in found] == [one.numpy().tolist() for one, _ in data]
    assert len(list(road.send(data.shuffle(5)))) == 4
    with pytest.raises(Untransferable, match="_MapDataset is not data"):
        road.encode(data.map(lambda one, two: one))
    wrong = ["tensorflow.Dataset", "from_tensors", [0], [["save", [0]]]]
    with pytest.raises(Malformed, match="unknown step"):
        road.receive(road.document(["dict", ["count"], [1]], wrong))


class Scale(keras.layers.Layer):
    def __init__(self, units: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(shape[-1], self.units))

    def call(self, x: Any) -> Any:
        return x @ self.w

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Sub(keras.Model):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = keras.layers.Dense(3)

    def call(self, x: Any) -> Any:
        return self.inner(x)


def clipped(x: Any) -> Any:
    return keras.ops.clip(x, 0, 1)


def loss(one: Any, two: Any) -> Any:
    return keras.ops.mean((one - two) ** 2)


def _sequential() -> Any:
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("adam", "mse", metrics=["mae"], run_eagerly=True)
    model.fit(X, np.zeros((20, 2)), verbose=0)
    return model


def _functional() -> Any:
    inside = keras.Input((4,))
    model = keras.Model(inside, keras.layers.Dense(2, activation=clipped)(Scale(5)(inside)))
    model.compile("sgd", loss, run_eagerly=True)
    return model


def _subclassed() -> Any:
    model = Sub()
    model(X)
    return model


@pytest.mark.parametrize("make", [_sequential, _functional, _subclassed])
@pytest.mark.parametrize("host", [True, False])
def test_a_model(road: Road, make: Any, host: bool) -> None:
    model = make()
    found = road.send(model, host)
    assert type(found) is type(model)
    assert np.array_equal(found(X), model(X))
    if make is not _subclassed:
        assert type(found.optimizer) is type(model.optimizer)
        found.fit(X, np.zeros((20, 2)), verbose=0)
    assert "parameters" in values.describe(model)
    assert values.preview(model)


def test_an_unchanged_model_is_not_sent_again(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _sequential()
    first = road.encode(model)
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert road.encode(model).doc == first.doc


def test_a_model_with_code_is_refused(road: Road) -> None:
    with pytest.raises(Untransferable, match="holds code: Lambda"):
        road.encode(keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x)]))


# what a host may not do to a user


def _changed(road: Road, change: Any) -> dict[str, Any]:
    """The document of an honest model after `change` had its configuration."""
    doc = road.encode(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="relu")])).doc
    (node,) = doc["nodes"]
    place = node[1].index("config.json")
    leaf = node[2][place]
    with open(road.store.path(leaf[0])) if isinstance(leaf, list) else io.StringIO(_text(leaf)) as file:
        config = json.load(file)
    change(config)
    data = json.dumps(config).encode()
    node[2][place] = [road.store.put(data), len(data)]
    return doc


def _text(leaf: str) -> str:
    return base64.b64decode(leaf).decode()


@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "Lambda", "module": "keras.layers"},
        {"class_name": "TorchModuleWrapper", "module": "keras.layers"},
        {"class_name": "TFSMLayer", "module": "keras.layers"},
        {"class_name": "Popen", "module": "subprocess"},
        {"class_name": "function", "module": "os", "config": "system"},
        {"class_name": "function", "module": "builtins", "config": ["eval"]},
        {"class_name": "__lambda__", "config": {"value": "4w"}},
        {"class_name": "__typespec__", "spec_name": "x"},
        {"class_name": ["Dense"], "module": "keras.layers"},
        {"class_name": "StringLookup", "module": "keras.layers", "config": {"vocabulary": "/etc/passwd"}},
        {"class_name": "Elsewhere", "module": None, "registered_name": "pkg>Elsewhere"},
    ],
    ids=lambda layer: str(layer["class_name"]),
)
def test_a_configuration_may_name_plain_keras_only(road: Road, layer: dict[str, Any]) -> None:
    doc = _changed(road, lambda config: config["config"]["layers"].append(layer))
    with pytest.raises((UnknownClass, Malformed)):
        road.receive(doc)


def test_weights_may_not_lie_in_other_files(road: Road, tmp_path: Any) -> None:
    doc = _changed(road, lambda config: None)
    (node,) = doc["nodes"]
    for make in (
        lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")),
        lambda file: file.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)]),
        lambda file: file.create_dataset("x", (1 << 40,), "u1", chunks=(1 << 20,), compression="gzip"),
    ):
        with h5py.File(tmp_path / "w.h5", "w") as file:
            make(file)
        data = (tmp_path / "w.h5").read_bytes()
        node[2][node[1].index("model.weights.h5")] = [road.store.put(data), len(data)]
        with pytest.raises(Malformed, match="weights"):
            road.receive(doc)


@pytest.mark.parametrize("name", ["../x", "assets/../../x", "/etc/x", "x.py", 3, None])
def test_the_archive_has_the_parts_it_should_have(road: Road, name: Any) -> None:
    doc = _changed(road, lambda config: None)
    doc["nodes"][0][1][0] = name
    with pytest.raises(Malformed):
        road.receive(doc)
