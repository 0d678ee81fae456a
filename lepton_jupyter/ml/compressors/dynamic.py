"""8-bit arithmetic without calibration: each batch's own range decides how its numbers become whole ones.

Runs in the kernel that holds the model. Products of matrices and LSTMs are done so by ONNX Runtime. Convolutions are
not: its dynamic ones are 2 to 3 times slower than 32 bits, so they multiply in 32 bits and are stored in 8.
"""

from __future__ import annotations

import importlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import ConfigError
from .. import frameworks
from .._quiet import quiet
from ..frameworks.onnx import OnnxModel
from ._base import Task
from ._onnx import SAFE, checked, exported, fastest, threads_of
from ._stored import stored

#: What ONNX Runtime multiplies so, and is not slower for it.
DYNAMIC = ("MatMul", "Gemm", "LSTM", "Attention")


@dataclass(frozen=True, kw_only=True)
class Dynamic:
    """Weights in 8 bits (7 with `reduce_range`, which processors without VNNI need), activations batch by batch.

    `arithmetic` and `threads` are as for Quantizing. Keras models become LiteRT files, which work the same way. Needs
    examples of the inputs to export and to measure; their values do not matter.
    """

    arithmetic: Literal["fastest", "int8"] = "fastest"
    reduce_range: bool = True
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.arithmetic not in ("fastest", "int8"):
            raise ConfigError(f"unknown arithmetic {self.arithmetic!r}", hint='It is "fastest" or "int8".')

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`. Raises ConfigError for a model without products of matrices and LSTMs."""
        if frameworks.of(model).name == "keras":
            from .litert import LiteRT

            return LiteRT(bits=8).compress(model, task)
        return self._onnx(model, task)

    def _onnx(self, model: Any, task: Task) -> OnnxModel:
        import onnx

        samples = task.samples(128)
        data, threads = exported(model, samples), self.threads or threads_of(model)
        used = {node.op_type for node in onnx.load_from_string(data).graph.node}
        if not used & {*DYNAMIC}:
            raise ConfigError(
                "the model has convolutions only, and those are slower with dynamic ranges than in 32 bits",
                hint="Use Quantizing, which measures the ranges beforehand, or WeightOnly.",
            )
        ways = {"dynamic": lambda: stored(self._dynamic(data), 8)}
        if self.arithmetic == "fastest":
            ways[SAFE] = lambda: stored(data, 8)
        return checked(fastest(ways, samples, threads), model, samples, threads)

    def _dynamic(self, data: bytes) -> bytes:
        quantization: Any = importlib.import_module("onnxruntime.quantization")
        with tempfile.TemporaryDirectory() as folder, quiet():
            before, after = (str(Path(folder, name)) for name in ("before.onnx", "after.onnx"))
            Path(before).write_bytes(data)
            quantization.quantize_dynamic(
                before,
                after,
                op_types_to_quantize=[*DYNAMIC],
                weight_type=quantization.QuantType.QInt8,
                reduce_range=self.reduce_range,
            )
            return Path(after).read_bytes()


PLUGIN = Dynamic
