"""8-bit arithmetic inside PyTorch: its graph quantized by torchao for x86, compiled with constants worked out.

Runs in the kernel that holds the model. For who must stay in PyTorch: ONNX Runtime (Quantizing) is faster, and needs no
compiler; this one compiles for half a minute, is slower than 32 bits at small batches and pays for wide layers at large
ones. Without compiling, such graphs are up to 25 times slower, so there is no way to have them so. It makes no file:
PyTorch's own keeps the weights in 32 bits beside those in 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ConfigError, LeptonError
from .. import frameworks
from .._quiet import quiet
from ._base import Task
from ._seeding import seeded

#: What is left of an answer's size in the difference between it and the quantized one: more is no rounding any more.
REACH = 0.25


@dataclass(frozen=True, kw_only=True)
class Pt2e:
    """Linear and convolutional layers in 8 bits, calibrated on so many `samples` of the task's data."""

    samples: int = 512

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ConfigError("calibration needs examples", hint="samples is at least 2.")

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`: a PyTorch model that lives in this process. MissingDependency without a C++ compiler.

        Raises ConfigError for what can't be traced or compiled, or answers otherwise when compiled, which happens.
        """
        framework = frameworks.of(model)
        if framework.name != "torch" or any(each.is_cuda for each in model.parameters()):
            raise ConfigError("PT2E compiles PyTorch models on CPUs", hint="Use Quantizing, or on a GPU WeightOnly.")
        from ..frameworks._torch_in_process import InProcess, compiler, converted, recurrent

        if recurrent(model):
            raise ConfigError(
                "PyTorch's compiler takes recurrent layers apart, and they are several times slower for it",
                hint="Use Quantizing: ONNX Runtime keeps them whole.",
            )
        from ..frameworks._torch_onnx import first_line

        samples = task.samples(self.samples)
        compiler()
        ready = framework.copy(model).eval()
        tensors = framework.tensors(ready, samples)
        batches = [tuple(part[at : at + 32] for part in tensors) for at in range(0, len(samples[0]), 32)]
        try:
            with seeded(task.seed):  # tracing draws
                graph = converted(ready, tuple(part[:2].clone() for part in tensors), batches)
            found = InProcess(graph)
            with seeded(task.seed), quiet():  # compiled here, once for batches of one and once for all others
                framework.predict(found, [part[:1] for part in samples])
                try:
                    answer = framework.predict(found, samples)
                except (
                    AssertionError
                ):  # of the compiled code, about the layout of convolutions, for batches of any size
                    found = InProcess(graph, pieces=True)
                    framework.predict(found, [part[:1] for part in samples])
                    answer = framework.predict(found, samples)
        except LeptonError:
            raise
        except Exception as error:  # exporter and compiler raise what they like
            raise ConfigError(
                f"PyTorch's compiler can't make this model in 8 bits: {first_line(error)}",
                hint="Use Quantizing: ONNX Runtime knows more kinds of models.",
            ) from error
        wanted = framework.predict(model, samples)
        away = float(np.linalg.norm(answer - wanted) / max(np.linalg.norm(wanted), 1e-12))
        if not away < REACH:
            raise ConfigError(
                f"in 8 bits and compiled, the model answers otherwise: {100 * away:.0f} % of the answer is off",
                hint="Use Quantizing: ONNX Runtime does such models right.",
            )
        return found


PLUGIN = Pt2e
