"""8-bit arithmetic on CPUs: ONNX Runtime's static quantization, with ranges measured on examples.

Runs in the kernel that holds the model. Activations have 8 bits without sign, weights 7 (`reduce_range`: without VNNI,
products of full 8 bits overflow). All kernels are stored in 8 bits. Whether multiplying in 8 bits is faster depends on
the processor and on the layer: narrow convolutions are often faster in 32. So both are measured, once for each
structure of a model, and the faster is taken. The answer is an `OnnxModel`; nothing trains after it.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import ConfigError
from .. import frameworks
from .._quiet import quiet
from ..frameworks._base import Array
from ..frameworks.onnx import onnxruntime
from ._base import Task
from ._onnx import SAFE, checked, exported, fastest, threads_of
from ._stored import stored

#: What is multiplied in 8 bits: products of matrices, and convolutions.
PRODUCTS, CONVOLUTIONS = ("MatMul", "Gemm"), ("Conv",)


@dataclass(frozen=True, kw_only=True)
class Quantizing:
    """Weights and activations in 8 bits, calibrated on so many `samples` of the task's data.

    `arithmetic` is "int8", or "fastest": in 8 bits where that is measured to be faster here, over batches of 1 and 128.
    `bits=32` only moves the model to ONNX Runtime. `threads` is how many the model may use; None: as many as its
    framework uses now. A Keras model becomes a LiteRT file, see compressors/litert.py.
    """

    bits: int = 8
    samples: int = 512
    arithmetic: Literal["fastest", "int8"] = "fastest"
    per_channel: bool = False
    reduce_range: bool = True
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.bits not in (8, 32):
            raise ConfigError(
                f"static quantization has no {self.bits} bits",
                hint="bits=8, or 32 for the runtime alone; for 4 bits WeightOnly, for 16 Half.",
            )
        if self.arithmetic not in ("fastest", "int8"):
            raise ConfigError(f"unknown arithmetic {self.arithmetic!r}", hint='It is "fastest" or "int8".')
        if self.samples < 1:
            raise ConfigError("calibration needs examples", hint="samples is at least 1.")

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`. Raises ConfigError for a model that can't be exported, and says at what it failed."""
        if frameworks.of(model).name == "keras":
            from .litert import LiteRT

            return LiteRT(bits=self.bits, threads=self.threads).compress(model, task)
        samples = task.samples(self.samples)
        data, threads = exported(model, samples), self.threads or threads_of(model)
        if self.bits == 8:
            data = self._smaller(data, samples, threads)
        return checked(data, model, samples, threads)

    def _smaller(self, data: bytes, samples: Sequence[Array], threads: int) -> bytes:
        import onnx

        used = {node.op_type for node in onnx.load_from_string(data).graph.node}
        products, convolutions = used & {*PRODUCTS}, used & {*CONVOLUTIONS}

        def multiplied(kinds: set[str]) -> Callable[[], bytes]:
            return lambda: stored(static(data, samples, kinds, self.per_channel, self.reduce_range), 8)

        ways: dict[str, Callable[[], bytes | None]] = {}
        if products | convolutions:
            ways["int8"] = multiplied(products | convolutions)
        if products and convolutions and self.arithmetic == "fastest":
            ways["products in int8"] = multiplied(products)
        if not ways or self.arithmetic == "fastest":
            ways[SAFE] = lambda: stored(data, 8)
        return fastest(ways, samples, threads)


def static(data: bytes, samples: Sequence[Array], kinds: set[str], per_channel: bool, reduce_range: bool) -> bytes:
    """The same model with these operations, and what lies between them, in 8 bits (QDQ)."""
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    names = [
        each.name for each in onnxruntime().InferenceSession(data, providers=["CPUExecutionProvider"]).get_inputs()
    ]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows: Iterator[dict[str, Array]] = (
                {name: part[at : at + 32] for name, part in zip(names, samples, strict=True)}
                for at in range(0, len(samples[0]), 32)
            )

        def get_next(self) -> dict[str, Array] | None:
            return next(self._rows, None)

    others = {"MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Relu", "Reshape", "Flatten", "Concat", "Transpose"}
    with tempfile.TemporaryDirectory() as folder, quiet():
        before, after = (str(Path(folder, name)) for name in ("before.onnx", "after.onnx"))
        Path(before).write_bytes(data)
        quantization.quantize_static(
            before,
            after,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=sorted(kinds | (others if kinds & {*CONVOLUTIONS} else set())),
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=per_channel,
            reduce_range=reduce_range,
        )
        return Path(after).read_bytes()


PLUGIN = Quantizing
