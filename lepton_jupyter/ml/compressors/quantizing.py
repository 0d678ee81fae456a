"""8-bit arithmetic on CPUs: ONNX Runtime's static quantization, with ranges measured on examples.

Runs in the kernel that holds the model. Of all ways to 8 bits that we measured this one is fast on every x86:
activations of 8 bits without sign, weights of 7 (`reduce_range`: without VNNI, products of full 8 bits overflow). The
answer is an `OnnxModel`; nothing trains after it.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, MissingDependency
from .. import frameworks
from .._quiet import quiet
from ..frameworks._base import Array
from ..frameworks.onnx import OnnxModel, onnxruntime
from ._base import Task


@dataclass(frozen=True, kw_only=True)
class Quantizing:
    """Weights and activations in 8 bits, calibrated on so many `samples` of the task's data.

    `bits=32` only moves the model to ONNX Runtime. `threads` is how many the model may use; None: as many as its
    framework uses now.
    """

    bits: int = 8
    samples: int = 512
    per_channel: bool = False
    reduce_range: bool = True
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.bits not in (8, 32):
            raise ConfigError(f"{self.bits} bits are not known here", hint="bits=8, or 32 for the runtime alone.")

    def compress(self, model: Any, task: Task) -> OnnxModel:
        """See `Compressor`. Raises ConfigError for a model that can't be exported, and says at what it failed."""
        framework = frameworks.of(model)
        if framework.name != "torch":
            raise ConfigError("static quantization knows PyTorch models only", hint="Quantize before exporting.")
        onnxruntime()
        samples = task.samples(self.samples)
        exported = export(framework.copy(model).eval(), framework.tensors(model, tuple(part[:2] for part in samples)))
        data = exported if self.bits == 32 else self._quantized(exported, samples)
        found = OnnxModel(data, self.threads or framework.threads())
        answer = found(*(part[:2] for part in samples))
        wanted = framework.predict(model, tuple(part[:2] for part in samples))
        if answer.shape != wanted.shape or not np.isfinite(answer).all():
            raise ConfigError(
                f"the quantized model answers not with finite numbers in the shape {wanted.shape}, but {answer.shape}",
                hint="Calibrate with examples as the model will see them.",
            )
        return found

    def _quantized(self, exported: bytes, samples: tuple[Array, ...]) -> bytes:
        quantization: Any = importlib.import_module("onnxruntime.quantization")

        class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
            def __init__(self, names: list[str]) -> None:
                self._rows: Iterator[dict[str, Array]] = (
                    {name: part[at : at + 32] for name, part in zip(names, samples, strict=True)}
                    for at in range(0, len(samples[0]), 32)
                )

            def get_next(self) -> dict[str, Array] | None:
                return next(self._rows, None)

        names = OnnxModel(exported).names
        with tempfile.TemporaryDirectory() as folder, quiet():
            before, ready, after = (str(Path(folder, name)) for name in ("before.onnx", "ready.onnx", "after.onnx"))
            Path(before).write_bytes(exported)
            quantization.quant_pre_process(before, ready, skip_symbolic_shape=True)
            quantization.quantize_static(
                ready,
                after,
                Reader(names),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=self.per_channel,
                reduce_range=self.reduce_range,
            )
            return Path(after).read_bytes()


def export(model: Any, inputs: tuple[Any, ...]) -> bytes:
    """A model, in the mode in which it answers, as an ONNX file for batches of any size.

    Raises ConfigError, naming what can't be exported.
    """
    import torch

    for package in ("onnx", "onnxscript"):
        try:
            __import__(package)
        except ModuleNotFoundError:
            raise MissingDependency(
                f"exporting needs the package {package!r}, which is not installed here",
                hint='Install it: pip install "lepton-jupyter[compress]"',
            ) from None
    batch = torch.export.Dim("batch", min=1)
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                model, inputs, dynamo=True, dynamic_shapes=tuple({0: batch} for _ in inputs), verbose=False
            )
    except Exception as error:  # torch.export runs the model's own code
        raise ConfigError(
            f"the model can't be exported to ONNX: {_first_line(error)}",
            hint="An if or a loop over values, or an operation ONNX has not, is the usual reason: see the words above.",
        ) from error
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no words'])[0]}"


PLUGIN = Quantizing
