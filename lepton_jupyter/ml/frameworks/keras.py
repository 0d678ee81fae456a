"""Keras' part (Keras 3 on TensorFlow): where the weights of a model lie, how it trains and answers.

Runs in the kernel that holds the model. Imported when a Keras model is there, so Keras is, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import ConfigError
from . import _keras_copies, _keras_steps
from ._base import Array, Weight
from ._keras_backend import tf
from ._keras_macs import macs
from ._keras_steps import given


@dataclass(frozen=True)
class _Items:
    variable: Any
    places: npt.NDArray[np.int64]

    def read(self) -> Array:
        flat: Array = _numpy(self.variable).reshape(-1)
        return flat[self.places].astype(np.float32)

    def write(self, values: Array) -> None:
        array = _numpy(self.variable).copy()
        array.reshape(-1)[self.places] = values
        self.variable.assign(array)


class _Weight:
    def __init__(self, name: str, variable: Any) -> None:
        self.name, self.shape = name, tuple(variable.shape)
        self._variable = variable

    def read(self) -> Array:
        array: Array = _numpy(self._variable).astype(np.float32)  # a copy
        return array

    def write(self, array: Array) -> None:
        self._variable.assign(array)

    def items(self, places: npt.NDArray[np.int64]) -> _Items:
        return _Items(self._variable, places)

    def hold(self, mask: npt.NDArray[np.bool_]) -> Callable[[], None]:
        value = self._variable.value
        keep = tf.constant(mask.reshape(self.shape))
        nothing = tf.zeros_like(value)

        def zero() -> None:
            value.assign(tf.where(keep, value, nothing))  # a product with 0 may be -0.0, another number to a file

        return zero


class Keras:
    """See `Framework`. Names are Keras' paths, such as dense/kernel."""

    name = "keras"

    def weights(self, model: Any) -> list[Weight]:
        _built(model)
        return [_Weight(name, each) for name, each in _named(model.trainable_variables) if "float" in str(each.dtype)]

    def state(self, model: Any) -> dict[str, Array]:
        _built(model)
        return {name: _numpy(each).copy() for name, each in _named(model.weights)}

    def restore(self, model: Any, arrays: dict[str, Array]) -> None:
        """Keras numbers the layers of a session on, so that the same code gives dense_1 where it gave dense: arrays
        of other names are taken in their order, if the names differ in such numbers alone."""
        mine = dict(_named(model.weights))
        if set(mine) != set(arrays) and [_plain(name) for name in mine] == [_plain(name) for name in arrays]:
            arrays = dict(zip(mine, arrays.values(), strict=True))
        wrong = sorted(set(mine) ^ set(arrays)) or [
            name for name, value in mine.items() if tuple(value.shape) != arrays[name].shape
        ]
        if wrong:
            raise ConfigError(
                f"these arrays are of another model: {', '.join(wrong[:5])}{'…' if len(wrong) > 5 else ''}",
                hint="Make the model with the same code as the one that was saved.",
            )
        for name, value in mine.items():
            value.assign(arrays[name])

    def copy(self, model: Any) -> Any:
        _built(model)
        return _keras_copies.copied(model)

    def after_each_step(self, model: Any, call: Callable[[], None]) -> AbstractContextManager[None]:
        return _keras_steps.after_each_step(model, call)

    def trainer(self, model: Any, loss: Callable[..., Any]) -> Callable[[float, Sequence[Array]], float]:
        return _keras_steps.trainer(model, loss)

    def distilled(self, loss: Callable[..., Any], teacher: Any, temperature: float, alpha: float) -> Callable[..., Any]:
        return _keras_steps.distilled(loss, teacher, temperature, alpha)

    def predict(self, model: Any, inputs: Sequence[Array]) -> Array:
        answer = model(given(model, self.tensors(model, inputs)), training=False)
        return np.asarray(tf.cast(answer, tf.float32))

    def tensors(self, model: Any, arrays: Sequence[Array]) -> tuple[Any, ...]:
        return tuple(tf.convert_to_tensor(array) for array in arrays)

    def runner(self, model: Any, compiled: bool = False) -> Callable[[Sequence[Array]], Callable[[], Any]]:
        def answer(inputs: Any) -> Any:
            return model(inputs, training=False)

        callable_ = tf.function(answer) if compiled else answer

        def prepare(inputs: Sequence[Array]) -> Callable[[], Any]:
            tensors = given(model, self.tensors(model, inputs))
            if tf.config.list_physical_devices("GPU"):  # which is asked now and answers later
                return lambda: np.asarray(callable_(tensors))
            return lambda: callable_(tensors)

        return prepare

    def macs(self, model: Any, inputs: Sequence[Array]) -> int | None:
        return macs(model, inputs)

    def threads(self) -> int:
        return int(tf.config.threading.get_intra_op_parallelism_threads()) or os.cpu_count() or 1


def _built(model: Any) -> None:
    if not model.built:
        raise ConfigError(
            "the Keras model has not been built: nobody knows the shapes of its weights yet",
            hint="Call it once with some examples, or begin it with keras.Input(shape).",
        )


def _named(variables: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Each once, by its path; where layers share a name, with a number behind it."""
    seen: dict[str, int] = {}
    for each in variables:
        count = seen[each.path] = seen.get(each.path, 0) + 1
        yield each.path if count == 1 else f"{each.path}#{count}", each


def _plain(name: str) -> list[str]:
    """The path without the numbers that Keras gives: dense_3/kernel -> dense, kernel."""
    return [head if tail.isdecimal() else part for part in name.split("/") for head, _, tail in [part.rpartition("_")]]


def _numpy(variable: Any) -> Array:
    found: Array = variable.numpy()
    return found


FRAMEWORK = Keras()
