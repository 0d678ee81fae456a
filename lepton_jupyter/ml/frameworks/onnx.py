"""Models that ONNX Runtime runs: what a compressor that leaves the framework gives back.

Runs in the kernel that holds the model. Such a model answers and is saved; it is not trained any further.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, MissingDependency
from ._base import Array, Weight
from ._onnx_macs import macs


def onnxruntime() -> Any:
    """The package, imported now. Raises MissingDependency with the command that installs it."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingDependency(
            "this needs the package 'onnxruntime', which is not installed here",
            hint='Install it: pip install "lepton-jupyter[compress]"',
        ) from None
    return onnxruntime


class OnnxModel:
    """An ONNX file in memory, ready to answer: `model(inputs…) -> answer`, arrays as numpy has them."""

    def __init__(self, data: bytes, threads: int = 1) -> None:
        runtime = onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # what it says of its own optimisations is no news to a notebook
        self.data, self.threads = data, threads
        self._session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self._session.get_inputs()]
        self._answers = [self._session.get_outputs()[0].name]

    def __call__(self, *inputs: Array) -> Array:
        """The model's (first) answer."""
        answer: Array = self._session.run(self._answers, dict(zip(self.names, inputs, strict=True)))[0]
        return answer

    def bound(self, *inputs: Array) -> Callable[[], Any]:
        """What answers these very inputs, each time anew, as the runtime has them: without the way through numpy."""
        binding = self._session.io_binding()
        kept = [np.ascontiguousarray(part) for part in inputs]  # the runtime reads them where they lie
        for name, part in zip(self.names, kept, strict=True):
            binding.bind_cpu_input(name, part)
        binding.bind_output(self._answers[0])

        def run() -> Any:
            self._session.run_with_iobinding(binding)
            return binding, kept

        return run

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.data, self.threads)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the .onnx file."""
        Path(path).write_bytes(self.data)


class Onnx:
    """See `Framework`. What trains raises ConfigError."""

    name = "onnx"

    def weights(self, model: OnnxModel) -> list[Weight]:
        raise _finished()

    def state(self, model: OnnxModel) -> dict[str, Array]:
        import onnx
        from onnx import numpy_helper

        graph = onnx.load_from_string(model.data).graph
        return {each.name: numpy_helper.to_array(each) for each in graph.initializer}

    def restore(self, model: OnnxModel, arrays: dict[str, Array]) -> None:
        raise _finished()

    def copy(self, model: OnnxModel) -> OnnxModel:
        return model

    def after_each_step(self, model: OnnxModel, call: Callable[[], None]) -> Any:
        raise _finished()

    def trainer(self, model: OnnxModel, loss: Callable[..., Any]) -> Any:
        raise _finished()

    def distilled(self, loss: Callable[..., Any], teacher: Any, temperature: float, alpha: float) -> Any:
        raise _finished()

    def predict(self, model: OnnxModel, inputs: Sequence[Array]) -> Array:
        return model(*inputs)

    def tensors(self, model: OnnxModel, arrays: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(arrays)

    def runner(self, model: OnnxModel, compiled: bool = False) -> Callable[[Sequence[Array]], Callable[[], Array]]:
        # As for torch, whose inputs are tensors before and whose answer is one.
        return lambda inputs: model.bound(*inputs)

    def macs(self, model: OnnxModel, inputs: Sequence[Array]) -> int | None:
        return macs(model.data, inputs, onnxruntime())

    def threads(self) -> int:
        return os.cpu_count() or 1


def _finished() -> ConfigError:
    return ConfigError(
        "an ONNX model is not trained or changed any more",
        hint="Put what trains (structured, pruning, sharing, distilling) before quantizing.",
    )


FRAMEWORK = Onnx()
