"""Keras models on LiteRT: fewer bits for the weights, and a runtime that is faster than TensorFlow's at any of them.

Runs in the kernel that holds the model. Of the ways from Keras to few bits this is the one that is smaller and faster
on x86; Keras' own `quantize` is slower than no quantization, and its export fails. The answer is a `LiteRtModel`;
nothing trains after it.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ConfigError, MissingDependency
from .. import frameworks
from .._quiet import quiet
from ..frameworks._base import Array
from ..frameworks.litert import LiteRtModel, interpreter
from ._base import Task
from ._converting import converted


@dataclass(frozen=True, kw_only=True)
class LiteRT:
    """Weights in so many `bits`; what flows between layers stays in 32.

    8: products in whole numbers, each input's range found as it comes. 4: likewise, by ai-edge-quantizer; with
    `weights_only`, weights are turned back to 32 bits before the product. 16 and 32 only store them so.
    `threads` is how many the model may use; None: as many as TensorFlow uses now.
    """

    bits: int = 8
    weights_only: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.bits not in (4, 8, 16, 32):
            raise ConfigError(
                f"{self.bits} bits are not known here", hint="bits=8, 4, 16, or 32 for the runtime alone."
            )
        if self.weights_only and self.bits not in (4, 8):
            raise ConfigError(
                "weights_only is for 4 and 8 bits", hint="16 and 32 bits are of the weights alone anyway."
            )

    def compress(self, model: Any, task: Task) -> LiteRtModel:
        """See `Compressor`. Needs examples only for a model whose class doesn't tell its inputs.

        Raises ConfigError for a model that can't be converted, and names the operation.
        """
        framework = frameworks.of(model)
        if framework.name != "keras":
            raise ConfigError(
                f"LiteRT is made from Keras models, not from a {type(model).__name__}", hint="Use Quantizing instead."
            )
        interpreter()
        inputs = _inputs(model, task)
        by_hand = self.bits == 4 or self.weights_only
        with quiet():
            data = converted(model, 32 if by_hand else self.bits, inputs)
            if by_hand:
                data = self._quantized(data)
        found = LiteRtModel(data, self.threads or framework.threads())
        answer, wanted = found(*inputs), framework.predict(model, inputs)
        if answer.shape != wanted.shape or not np.isfinite(answer).all():
            raise ConfigError(
                f"the converted model answers not with finite numbers in the shape {wanted.shape}, but {answer.shape}",
                hint="Shapes fixed by numbers in the model's code are the usual reason.",
            )
        if self.bits == 32 and not np.allclose(answer, wanted, rtol=1e-3, atol=1e-3 * float(np.abs(wanted).max())):
            raise ConfigError(
                f"the converted model answers otherwise, by up to {np.abs(answer - wanted).max():.3g}",
                hint="A layer that does otherwise at each call (random numbers, a state) is the usual reason.",
            )
        return found

    def _quantized(self, data: bytes) -> bytes:
        try:
            from ai_edge_quantizer import quantizer, recipe
        except ModuleNotFoundError:
            raise MissingDependency(
                f"{self.bits} bits need the package 'ai-edge-quantizer', which is not installed here",
                hint='Install it: pip install "lepton-jupyter[compress]"',
            ) from None
        kind = f"{'weight_only' if self.weights_only else 'dynamic'}_wi{self.bits}_afp32"
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            work = quantizer.Quantizer(data)
            work.load_quantization_recipe(getattr(recipe, kind)())
            return bytes(work.quantize().quantized_model)


def _inputs(model: Any, task: Task) -> tuple[Array, ...]:
    """Two examples of the task's, or some of the shapes that the model tells."""
    if task.data is not None:
        return task.samples(2)
    try:
        shapes = [(tuple(each.shape), str(each.dtype)) for each in model.inputs]
    except AttributeError:
        shapes = [((None, None), "")]
    if any(None in shape[1:] for shape, _ in shapes):
        raise ConfigError("nobody knows the shape of the model's inputs", hint="Give data=(inputs, targets).")
    draw = np.random.default_rng(task.seed)
    return tuple(draw.random((2, *shape[1:])).astype(dtype) for shape, dtype in shapes)


PLUGIN = LiteRT
