"""Half precision: all of a PyTorch model in 16 bits, its inputs cast on the way in, its answers back on the way out.

Runs in the kernel that holds the model. Half the size everywhere; faster on GPUs and on CPUs with bfloat16 of their own
(AMX, AVX512-BF16), slower on others, which the report's figures show. For a CPU without, WeightOnly(bits=16) stores in
16 bits and multiplies in 32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...errors import ConfigError
from .. import frameworks
from ._base import Task

#: Half precision's largest number.
LARGEST = 65504.0


@dataclass(frozen=True, kw_only=True)
class Half:
    """`kind` is "bf16", with the range of 32 bits and 3 decimal digits at most, or "fp16", finer and up to 65504."""

    kind: Literal["bf16", "fp16"] = "bf16"

    def __post_init__(self) -> None:
        if self.kind not in ("bf16", "fp16"):
            raise ConfigError(f"unknown precision {self.kind!r}", hint='It is "bf16" or "fp16".')

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`: needs no data; with data, raises ConfigError if the answers are no finite numbers."""
        framework = frameworks.of(model)
        if framework.name == "keras":
            from .litert import LiteRT

            return LiteRT(bits=16).compress(model, task)
        if framework.name != "torch":
            raise ConfigError("half precision is for models of PyTorch and Keras", hint="WeightOnly(bits=16) for ONNX.")
        import torch

        largest = max(
            (float(weight.detach().abs().max()) for weight in model.parameters() if weight.numel()), default=0.0
        )
        if self.kind == "fp16" and largest > LARGEST:
            raise ConfigError(f"a weight of {largest:.3g} is too large for fp16", hint='Use kind="bf16".')
        small = framework.copy(model).to(torch.bfloat16 if self.kind == "bf16" else torch.float16)
        if not any(hook is _inwards for hook in small._forward_pre_hooks.values()):
            small.register_forward_pre_hook(_inwards, with_kwargs=True)
            small.register_forward_hook(_outwards)
        if task.data is not None:
            try:
                answer = framework.predict(small, task.samples(2))
            except RuntimeError as error:
                raise ConfigError(
                    f"the model does not answer in {self.kind}: {error}",
                    hint="A layer that makes 32-bit numbers of its own is the usual reason: make them like its input, "
                    "x.new_zeros(...) or torch.zeros(..., dtype=x.dtype).",
                ) from error
            if not np.isfinite(answer).all():
                raise ConfigError(f"the answers in {self.kind} are not finite", hint='Use kind="bf16", or 32 bits.')
        return small


def _inwards(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Real numbers to the model's own precision; whole numbers, such as places in a table, stay."""
    import torch
    from torch.utils._pytree import tree_map

    kind = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)

    def cast(value: Any) -> Any:
        return value.to(kind) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    return tree_map(cast, args), tree_map(cast, kwargs)


def _outwards(module: Any, args: Any, answer: Any) -> Any:
    import torch
    from torch.utils._pytree import tree_map

    def cast(value: Any) -> Any:
        return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    return tree_map(cast, answer)


PLUGIN = Half
