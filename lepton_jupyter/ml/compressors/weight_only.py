"""Weights in 8 or 4 bits (or 16), numbers on their way through the model in 32: needs no calibration, loses little.

Runs in the kernel that holds the model. On a CPU the answer is an `OnnxModel`: kernels of every kind of layer are
whole numbers with a scale in the file, worked out once when it is loaded; products by wide matrices may be made from
the whole numbers instead, where that is measured to be faster. On a GPU the answer is a PyTorch model whose Linear
layers torchao holds in whole numbers. torchao on an x86 CPU is up to 25 times slower than 32 bits: not used there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError, MissingDependency
from .. import frameworks
from .._quiet import quiet
from ..frameworks.onnx import OnnxModel
from ._base import Task
from ._onnx import SAFE, checked, exported, fastest, threads_of
from ._stored import multiplied, stored


@dataclass(frozen=True, kw_only=True)
class WeightOnly:
    """Kernels in so many `bits`: 16 (half precision), 8 (one scale for each row), 4 (one for each `block` of a row).

    `threads` is how many an `OnnxModel` may use; None: as many as its framework uses now. Keras models become LiteRT
    files. Needs examples of the inputs (the task's data) to export and to measure; targets are not looked at.
    """

    bits: int = 8
    block: int = 64
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.bits not in (16, 8, 4):
            raise ConfigError(f"weights have no {self.bits} bits here", hint="bits=16, 8 or 4; fewer with Sharing.")
        if self.block < 16 or self.block & (self.block - 1):
            raise ConfigError(f"a block has no {self.block} weights", hint="block is a power of two from 16 on.")

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`. Raises ConfigError for a model that can't be exported, and says at what it failed."""
        framework = frameworks.of(model)
        if framework.name == "keras":
            from .litert import LiteRT

            return LiteRT(bits=self.bits).compress(model, task)
        if framework.name == "torch" and any(each.is_cuda for each in model.parameters()):
            return on_gpu(model, self.bits, self.block)
        return self._on_cpu(model, task)

    def _on_cpu(self, model: Any, task: Task) -> OnnxModel:
        samples = task.samples(128)
        data, threads = exported(model, samples), self.threads or threads_of(model)
        block = self.block if self.bits == 4 else None
        ways: dict[str, Callable[[], bytes | None]] = {SAFE: lambda: stored(data, self.bits, block)}
        if self.bits < 16:
            # What is left, convolutions for example, is stored.
            ways["multiplied"] = lambda: (
                stored(found, self.bits, block) if (found := multiplied(data, self.bits, block)) is not None else None
            )
        return checked(fastest(ways, samples, threads), model, samples, threads)


def on_gpu(model: Any, bits: int, block: int) -> Any:
    """A copy of a PyTorch model whose Linear layers torchao holds in so many bits.

    Raises ConfigError if it has none, or if torchao can't on this GPU, MissingDependency without torchao.
    """
    import torch

    if bits == 16:
        raise ConfigError("on a GPU, weights in 16 bits are multiplied in 16", hint="Use Half instead.")
    if not any(isinstance(module, torch.nn.Linear) for module in model.modules()):
        raise ConfigError("the model has no Linear layer, and torchao knows no other", hint="Use Half instead.")
    small = frameworks.of(model).copy(model).eval()
    try:
        with quiet():
            torchao: Any = importlib.import_module("torchao.quantization")
            way = (
                torchao.Int8WeightOnlyConfig() if bits == 8 else torchao.Int4WeightOnlyConfig(group_size=max(32, block))
            )
            torchao.quantize_(small, way)
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"weights in {bits} bits on a GPU need the package {error.name!r}, which is not installed here",
            hint='Install it: pip install "lepton-jupyter[compress]"',
        ) from None
    except Exception as error:  # torchao asserts what its kernels need of the GPU and of the shapes
        raise ConfigError(
            f"torchao can't hold this model's weights in {bits} bits here: {type(error).__name__}: {error}",
            hint="Its 4 bits want bfloat16 (Half first) and widths that are multiples of the block; 8 bits want less.",
        ) from error
    return small.train(model.training)


PLUGIN = WeightOnly
