"""Keras models of four kinds, pruned, shared, narrowed, distilled: what works for PyTorch works for them."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import frameworks, packed
from lepton_jupyter.ml.compressors import Task
from lepton_jupyter.ml.compressors.distilling import Distilling
from lepton_jupyter.ml.compressors.pruning import Pruning
from lepton_jupyter.ml.compressors.sharing import Sharing
from lepton_jupyter.ml.compressors.structured import Structured

from .keras_digits import CROSS_ENTROPY, DIGITS, KINDS, PICTURES, TRAIN, cnn, fit, loss, right, task, trained

ALL = pytest.mark.parametrize("kind", sorted(KINDS))


def kernels(model: Any) -> list[np.ndarray[Any, Any]]:
    return [weight.read() for weight in frameworks.of(model).weights(model) if len(weight.shape) > 1]


def density(model: Any) -> float:
    return sum(np.count_nonzero(each) for each in kernels(model)) / sum(each.size for each in kernels(model))


def small_model(width: int = 10) -> Any:
    return keras.Sequential([keras.Input((8, 8)), layers.Flatten(), layers.Dense(width)])


@ALL
def test_prune_share_pack_load(kind: str) -> None:
    """The whole way, for each kind of model; the arrays come back into a model that the same code makes anew."""
    model = trained(kind)
    framework = frameworks.of(model)
    before = framework.state(model)
    small = Pruning(density=0.4, rounds=3).compress(model, task(rate=5e-3))
    small = Sharing(bits=4, bias_bits=6, rounds=2).compress(small, task(rate=5e-3))
    assert all(np.array_equal(array, before[name]) for name, array in framework.state(model).items())
    assert density(small) == pytest.approx(0.4, abs=0.001)
    assert all(len(np.unique(each[each != 0])) <= 16 for each in kernels(small))
    assert not any(np.signbit(each[each == 0]).any() for each in kernels(small))
    assert right(model).mean() > 0.8
    assert right(small).mean() > right(model).mean() - 0.05
    arrays = framework.state(small)
    if kind == "mlp":  # that arrays come back is tested with the packed file
        file = packed.pack(arrays)
        assert len(file) < sum(array.nbytes for array in before.values()) / 6
        arrays = packed.unpack(file).arrays
    again = KINDS[kind]()
    framework.restore(again, arrays)
    assert np.array_equal(framework.predict(again, (PICTURES[:99],)), framework.predict(small, (PICTURES[:99],)))


def _fit(model: Any) -> int:
    model.compile("adam", CROSS_ENTROPY)
    model.fit(PICTURES[:96], DIGITS[:96], batch_size=32, epochs=2, verbose=0)
    return 6


def _several_steps_in_one(model: Any) -> int:
    model.compile("sgd", CROSS_ENTROPY, steps_per_execution=3)
    model.fit(PICTURES[:96], DIGITS[:96], batch_size=32, verbose=0)
    return 3


def _train_on_batch(model: Any) -> int:
    model.compile("adam", CROSS_ENTROPY)
    model.train_on_batch(PICTURES[:32], DIGITS[:32])
    return 1


def _step(model: Any, optimizer: Any) -> None:
    with tf.GradientTape() as tape:
        value = loss(model, PICTURES[:32], DIGITS[:32])
    optimizer.apply_gradients(
        zip(tape.gradient(value, model.trainable_variables), model.trainable_variables, strict=True)
    )


def _by_hand(model: Any) -> int:
    _step(model, keras.optimizers.SGD(0.1))
    return 1


def _by_hand_in_a_graph(model: Any) -> int:
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)

    @tf.function
    def steps() -> None:
        for _ in tf.range(4):
            _step(model, optimizer)

    steps()
    return 4


@pytest.mark.parametrize(
    "way", [_fit, _several_steps_in_one, _train_on_batch, _by_hand, _by_hand_in_a_graph], ids=lambda way: way.__name__
)
def test_each_step_of_any_training_is_seen(way: Any) -> None:
    """Once, after the step, and before the next one: what is held at zero is zero whenever the model answers."""
    model = small_model()
    other = small_model()
    framework = frameworks.of(model)
    kernel = framework.weights(model)[0]
    zero = kernel.hold(np.arange(640).reshape(64, 10) % 2 == 0)
    zero()
    seen = []

    def after() -> None:
        seen.append(np.count_nonzero(kernel.read().ravel()[1::2]))
        zero()

    with framework.after_each_step(model, after):
        wanted = way(model)
        way(other)
    assert len(seen) == wanted
    assert all(seen), "the call came before the step"
    assert not kernel.read().ravel()[1::2].any()
    way(model)
    assert len(seen) == wanted, "called after the end"


def test_with_the_users_own_training() -> None:
    """A compiled model is copied with what it was compiled with, and fit() is all that the user need write."""
    model = trained("cnn")
    slots = len(model.optimizer.variables)
    small = Pruning(density=0.3, rounds=3).compress(model, Task(train=fit))
    assert density(small) == pytest.approx(0.3, abs=0.001)
    assert right(small).mean() > right(model).mean() - 0.05
    assert len(model.optimizer.variables) == slots
    assert len(small.optimizer.variables) < slots, "what the optimizer kept is no part of the model"
    assert type(small.optimizer) is type(model.optimizer)


def test_a_copy_shares_nothing_and_draws_nothing() -> None:
    model = cnn()
    model.layers[2].trainable = False
    state = random.getstate()
    again = frameworks.of(model).copy(model)
    assert random.getstate() == state
    assert [layer.trainable for layer in again.layers] == [layer.trainable for layer in model.layers]
    assert [each.name for each in again.layers] == [each.name for each in model.layers]
    for mine, theirs in zip(again.variables, model.variables, strict=True):
        assert np.array_equal(mine.numpy(), theirs.numpy())
        mine.assign(mine + 1)
        assert not np.array_equal(mine.numpy(), theirs.numpy())


def test_the_loss_sees_the_model_in_training() -> None:
    """Dropout drops and the means of batch normalisation move, though the loss only calls model(x)."""
    model = cnn()
    framework = frameworks.of(model)
    means = next(each for each in model.weights if each.path.endswith("moving_mean"))
    before = means.numpy()
    framework.trainer(model, loss)(0.0, (PICTURES[:8], DIGITS[:8]))
    assert np.abs(means.numpy() - before).max() > 0
    before = means.numpy()
    framework.predict(model, (PICTURES[:8],))
    assert np.array_equal(means.numpy(), before)


@pytest.mark.parametrize(("kind", "share"), [("mlp", 0.5), ("cnn", 0.4), ("lstm", 0.4), ("transformer", 0.75)])
def test_each_kind_can_be_narrowed(kind: str, share: float) -> None:
    model = trained(kind)
    small = Structured(keep=0.5, rounds=5).compress(model, task(rate=5e-3))
    assert sum(each.size for each in kernels(small)) < share * sum(each.size for each in kernels(model))
    macs = [frameworks.of(each).macs(each, (PICTURES[:1],)) for each in (model, small)]
    assert macs[1] < 0.8 * macs[0]
    assert right(small).mean() > right(model).mean() - 0.07


def test_heads_and_recurrent_units_go_whole() -> None:
    found = {each.path.partition("/")[2]: tuple(each.shape) for each in _halved("transformer").weights}
    assert found["query/kernel"] == (32, 2, 8)
    assert found["attention_output/kernel"] == (2, 8, 32)
    assert [tuple(each.shape) for each in _halved("lstm").weights][:3] == [(8, 96), (24, 96), (96,)]


def _halved(kind: str) -> Any:
    return Structured(keep=0.5, rounds=0).compress(trained(kind), task())


def all_layers() -> Any:
    """One of nearly each layer that can be narrowed."""
    x = given = keras.Input((8, 8))
    x = layers.Bidirectional(layers.LSTM(12, return_sequences=True))(x)
    x = layers.Concatenate()([x, layers.GRU(10, return_sequences=True)(x)])
    same = layers.Dense(34)
    x = layers.LayerNormalization()(keras.ops.relu(same(same(x)) + x))
    x = layers.Subtract()([x, layers.MultiHeadAttention(4, 8, use_bias=False)(x, x)])
    x = layers.SeparableConv1D(8, 3, depth_multiplier=2)(layers.Conv1D(16, 3, padding="same")(x))
    x = layers.DepthwiseConv1D(3, depth_multiplier=2)(layers.Conv1DTranspose(12, 2)(x))
    x = layers.PReLU(shared_axes=[1])(x)
    return keras.Model(given, layers.Dense(10)(layers.Reshape((-1,))(x)))


def test_what_matters_not_at_all_goes_first_and_changes_nothing() -> None:
    """Half of the channels, which a sum joins, are made to have no effect; without them it answers as before."""
    model = frameworks.of(trained("cnn")).copy(trained("cnn"))
    for each in model.weights:
        array = each.numpy()
        if each.path.endswith(("gamma", "beta")) or each.path.startswith("conv"):
            array[..., 1::2] = 0
        each.assign(array)
    before = frameworks.of(model).predict(model, (PICTURES[:50],))
    small = Structured(keep=0.5, rounds=0).compress(model, task())
    assert [layer.filters for layer in small.layers if isinstance(layer, layers.Conv2D)] == [12, 12]
    assert frameworks.of(small).predict(small, (PICTURES[:50],)) == pytest.approx(before, abs=1e-4)


def test_nearly_all_layers_can_be_narrowed() -> None:
    model = all_layers()
    small = Structured(keep=0.5, rounds=0, multiple=2).compress(model, task())
    assert small.count_params() < 0.4 * model.count_params()
    left = {type(layer).__name__: layer.get_config() for layer in small.layers}
    assert left["Bidirectional"]["layer"]["config"]["units"] == 6
    assert left["GRU"]["units"] == 6, "5, but a multiple of 2"
    assert left["MultiHeadAttention"]["num_heads"] == 2
    assert [left[name]["filters"] for name in ("Conv1D", "SeparableConv1D", "Conv1DTranspose")] == [8, 4, 6]


def test_a_fixed_layer_keeps_its_width() -> None:
    model = trained("mlp")
    first = model.layers[1].name
    small = Structured(keep=0.5, rounds=0, fixed=(first,)).compress(model, task())
    assert [layer.units for layer in small.layers[1:]] == [100, 30, 10]
    with pytest.raises(ConfigError, match=first):
        Structured(fixed=("nobody",)).compress(model, task())


class OfAClass(keras.Model):
    """Its graph is known to its call() alone."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = layers.Dense(20, activation="relu"), layers.Dense(10)

    def call(self, x: Any) -> Any:
        return self.b(self.a(keras.ops.reshape(x, (-1, 64))))


def test_a_model_of_a_class_is_pruned_but_not_narrowed() -> None:
    model = OfAClass()
    with pytest.raises(ConfigError, match="not been built"):
        Pruning(rounds=1).compress(model, task())
    model(PICTURES[:2])
    assert density(Pruning(density=0.5, rounds=1).compress(model, task())) == pytest.approx(0.5, abs=0.001)
    with pytest.raises(ConfigError, match=r"(?s)OfAClass.*student="):
        Structured(rounds=0).compress(model, task())


def test_a_student_learns_from_its_teacher() -> None:
    """It follows the teacher even where the targets say nothing: alpha 1."""
    model = trained("mlp")
    random_digits = task(data=(PICTURES[TRAIN], np.random.default_rng(0).integers(10, size=1300)))
    student = Distilling(keep=0.4, rounds=6, alpha=1.0).compress(model, random_digits)
    assert student.layers[1].units == 40
    assert right(student).mean() > right(model).mean() - 0.05


@pytest.mark.parametrize(
    ("compressor", "given", "words"),
    [
        (Pruning(rounds=1), {"train": lambda model: None}, "no step"),
        (Pruning(rounds=1), {"loss": lambda model, x, y: loss(model, x, y) * np.nan}, "not a finite number"),
        (Distilling(rounds=1), {"loss": lambda model, x, y: keras.ops.sum(model.weights[0])}, "did not call the model"),
        (Distilling(student=small_model(9)), {}, "last layer"),
    ],
    ids=["train", "nan", "uncalled", "student"],
)  # fmt: skip
def test_what_is_wrong_is_said(compressor: Any, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        compressor.compress(trained("mlp"), task(**given))


def test_the_same_seed_gives_the_same_model() -> None:
    steps = [Pruning(rounds=1), Sharing(rounds=1)]
    found = []
    for _ in range(2):
        model: Any = trained("mlp")
        for step in steps:
            model = step.compress(model, task())
        found.append(frameworks.of(model).predict(model, (PICTURES[:99],)))
    assert np.array_equal(found[0], found[1])


def test_arrays_of_another_model_are_refused() -> None:
    model = trained("mlp")
    with pytest.raises(ConfigError, match="another model"):
        frameworks.of(model).restore(model, frameworks.of(model).state(trained("cnn")))


def test_multiplications_are_counted() -> None:
    counts = {kind: frameworks.of(trained(kind)).macs(trained(kind), (PICTURES[:1],)) for kind in KINDS}
    assert counts["mlp"] == 64 * 100 + 100 * 60 + 60 * 10
    assert counts["cnn"] == 64 * 9 * 24 + 16 * 9 * 24 * 24 + 96 * 10
    assert counts["lstm"] == 8 * (8 + 48) * 4 * 48 + 48 * 10
    attention = 4 * 8 * 32 * 32 + 2 * 8 * 8 * 32
    assert counts["transformer"] == 8 * 8 * 32 + attention + 2 * 8 * 32 * 64 + 32 * 10
