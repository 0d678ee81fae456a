"""Models that LiteRT runs (.tflite): what Keras models become when they leave the framework.

Runs in the kernel that holds the model. Such a model answers and is saved; it is not trained any further.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, MissingDependency
from .._quiet import quiet
from ._base import Array, Weight


def interpreter() -> Any:
    """The class Interpreter, imported now. Raises MissingDependency with the command that installs it."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError:
        raise MissingDependency(
            "this needs the package 'ai-edge-litert', which is not installed here",
            hint='Install it: pip install "lepton-jupyter[compress]"',
        ) from None
    return Interpreter


class LiteRtModel:
    """A .tflite file in memory, ready to answer: `model(inputs…) -> answer`, arrays as numpy has them.

    Batches may have any size; each new one costs a little, since the interpreter then lays out its memory anew.
    """

    def __init__(self, data: bytes, threads: int = 1) -> None:
        self.data, self.threads = data, threads
        try:
            self._interpreter = interpreter()(model_content=data, num_threads=threads)
        except ValueError as error:
            raise ConfigError(f"LiteRT can't run this file: {error}", hint="Is it a whole .tflite file?") from error
        self._inputs = sorted(self._interpreter.get_input_details(), key=_place)
        self._answer = self._interpreter.get_output_details()[0]["index"]
        self._shapes: list[tuple[int, ...]] = []
        self._last: list[Array] = []

    def __call__(self, *inputs: Array) -> Array:
        """The model's (first) answer."""
        if len(inputs) != len(self._inputs):
            raise ConfigError(
                f"the model has {len(self._inputs)} inputs, {len(inputs)} were given",
                hint="Give them in the order of the Keras model's inputs.",
            )
        parts = [np.ascontiguousarray(part, each["dtype"]) for part, each in zip(inputs, self._inputs, strict=True)]
        self._lay_out([part.shape for part in parts])
        for part, each in zip(parts, self._inputs, strict=True):
            self._interpreter.set_tensor(each["index"], part)
        self._last = parts
        self._interpreter.invoke()
        answer: Array = self._interpreter.get_tensor(self._answer)
        return answer

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.data, self.threads)

    def _lay_out(self, shapes: list[tuple[int, ...]]) -> None:
        if shapes == self._shapes:
            return
        for shape, each in zip(shapes, self._inputs, strict=True):
            wanted = tuple(int(size) for size in each["shape_signature"])
            if len(shape) != len(wanted) or any(a not in (-1, b) for a, b in zip(wanted, shape, strict=True)):
                raise ConfigError(
                    f"the model takes inputs of the shape {wanted}, not {shape}", hint="-1 stands for any size."
                )
            self._interpreter.resize_tensor_input(each["index"], shape)
        self._interpreter.allocate_tensors()
        self._shapes = shapes

    def bound(self, *inputs: Array) -> Callable[[], Any]:
        """What answers these very inputs, each time anew, without the way through numpy."""
        self(*inputs)
        mine = self._last

        def run() -> Any:
            nonlocal mine
            if self._last is mine:
                self._interpreter.invoke()
            else:  # others were answered in between
                self(*inputs)
                mine = self._last

        return run

    def tensors(self) -> dict[str, Array]:
        """The constants of the file, by name."""
        found: dict[str, Array] = {}
        model = interpreter()(model_content=self.data, num_threads=1)
        for each in model.get_tensor_details():
            try:
                array = np.array(model.get_tensor(each["index"]))
            except ValueError:  # nothing there before the model has run: no constant
                continue
            found[each["name"] if each["name"] not in found else f"{each['name']}#{each['index']}"] = array
        return found

    def macs(self, inputs: Sequence[Array]) -> int | None:
        """For one example, by the shapes that the tensors have then."""
        with quiet():  # it warns of the memory that this takes
            model = interpreter()(model_content=self.data, num_threads=1, experimental_preserve_all_tensors=True)
        details = sorted(model.get_input_details(), key=_place)
        for part, each in zip(inputs, details, strict=True):
            model.resize_tensor_input(each["index"], (1, *part.shape[1:]))
        model.allocate_tensors()
        for part, each in zip(inputs, details, strict=True):
            model.set_tensor(each["index"], np.ascontiguousarray(part[:1], each["dtype"]))
        model.invoke()
        shapes = {each["index"]: tuple(int(size) for size in each["shape"]) for each in model.get_tensor_details()}
        return sum(_macs(each, shapes) for each in model._get_ops_details())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the .tflite file."""
        Path(path).write_bytes(self.data)


def _place(detail: dict[str, Any]) -> tuple[int, int]:
    """Converters may list inputs in another order; ours are named by their place: input_0, input_1…"""
    tail = detail["name"].rpartition("input_")[2].partition(":")[0]
    return (int(tail), 0) if tail.isdecimal() else (0, int(detail["index"]))


def _macs(operation: dict[str, Any], shapes: dict[int, tuple[int, ...]]) -> int:
    kind = operation["op_name"]
    if kind not in ("FULLY_CONNECTED", "CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "BATCH_MATMUL", "TRANSPOSE_CONV"):
        return 0
    first, second = (shapes[int(index)] for index in operation["inputs"][:2])
    answer = shapes[int(operation["outputs"][0])]
    if kind == "FULLY_CONNECTED":
        return math.prod(answer) * second[-1]
    if kind == "BATCH_MATMUL":  # items of both factors, and which sizes both share, whatever is transposed
        batch = math.prod(answer[:-2])
        rows, columns = answer[-2:]
        return batch * rows * columns * (math.prod(first[-2:]) // rows)
    if kind == "TRANSPOSE_CONV":
        return math.prod(shapes[int(operation["inputs"][2])]) * math.prod(second[:-1])
    window = second[1:-1] if kind.startswith("DEPTHWISE") else second[:-1] if kind == "CONV_3D" else second[1:]
    return math.prod(answer) * math.prod(window)


class LiteRt:
    """See `Framework`. What trains raises ConfigError."""

    name = "litert"

    def weights(self, model: LiteRtModel) -> list[Weight]:
        raise _finished()

    def state(self, model: LiteRtModel) -> dict[str, Array]:
        return model.tensors()

    def restore(self, model: LiteRtModel, arrays: dict[str, Array]) -> None:
        raise _finished()

    def copy(self, model: LiteRtModel) -> LiteRtModel:
        return model

    def after_each_step(self, model: LiteRtModel, call: Callable[[], None]) -> Any:
        raise _finished()

    def trainer(self, model: LiteRtModel, loss: Callable[..., Any]) -> Any:
        raise _finished()

    def distilled(self, loss: Callable[..., Any], teacher: Any, temperature: float, alpha: float) -> Any:
        raise _finished()

    def predict(self, model: LiteRtModel, inputs: Sequence[Array]) -> Array:
        return model(*inputs)

    def tensors(self, model: LiteRtModel, arrays: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(arrays)

    def runner(self, model: LiteRtModel, compiled: bool = False) -> Callable[[Sequence[Array]], Callable[[], Any]]:
        # As for Keras, whose inputs are tensors before and whose answer is one.
        return lambda inputs: model.bound(*inputs)

    def macs(self, model: LiteRtModel, inputs: Sequence[Array]) -> int | None:
        return model.macs(inputs)

    def threads(self) -> int:
        return os.cpu_count() or 1


def _finished() -> ConfigError:
    return ConfigError(
        "a LiteRT model is not trained or changed any more",
        hint="Put what trains (structured, pruning, sharing, distilling) before quantizing.",
    )


FRAMEWORK = LiteRt()
