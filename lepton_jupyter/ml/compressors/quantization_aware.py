"""Quantization-aware training: the model learns to live with the rounding before it is rounded.

Runs in the kernel that holds the model. Worth its training for 4 bits, and where 8 bits cost accuracy. A kernel's grid
has a scale for each row, as in the file that is made afterwards: the file's kernels are the ones trained with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ...errors import ConfigError
from .. import frameworks
from ._base import Task, keep_zeros, train
from .quantizing import Quantizing
from .weight_only import WeightOnly


@dataclass(frozen=True, kw_only=True)
class QuantizationAware:
    """Trains on for so many `rounds`, then `bits=8` quantizes as Quantizing does, `bits=4` as WeightOnly.

    The other options are theirs. Zeros that the model has stay zero. PyTorch only.
    """

    bits: int = 8
    rounds: int = 3
    block: int = 64
    samples: int = 512
    arithmetic: Literal["fastest", "int8"] = "fastest"
    reduce_range: bool = True
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.bits not in (8, 4) or self.rounds < 1:
            raise ConfigError(
                f"can't train for {self.bits} bits in {self.rounds} rounds",
                hint="bits is 8 or 4, rounds at least 1. For fewer bits, Sharing trains palettes.",
            )
        self._last()

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`."""
        framework = frameworks.of(model)
        if framework.name != "torch":
            raise ConfigError(
                f"training with rounding is not there for models of {framework.name}",
                hint="Use Quantizing without, or Sharing, which trains palettes for PyTorch and Keras alike.",
            )
        from ..frameworks._torch_rounding import Rounding

        task.samples(1)  # asked for now: without, all training would be for nothing
        trained = framework.copy(model)
        levels = 7 if self.bits == 4 else 64 if self.reduce_range else 127
        rounding = Rounding(levels, self.block if self.bits == 4 else None, inputs=self.bits == 8)
        hold = keep_zeros(framework.weights(trained))
        with rounding.within(trained):
            train(framework, trained, task, self.rounds, lambda _: hold())
        rounding.settle(trained)
        return self._last().compress(trained, task)

    def _last(self) -> Quantizing | WeightOnly:
        if self.bits == 4:
            return WeightOnly(bits=4, block=self.block, threads=self.threads)
        return Quantizing(
            samples=self.samples,
            arithmetic=self.arithmetic,
            per_channel=True,
            reduce_range=self.reduce_range,
            threads=self.threads,
        )


PLUGIN = QuantizationAware
