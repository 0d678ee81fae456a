"""What distilling must know of a framework beyond what all compressors do: parts of its models.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any, Protocol, cast

from ...errors import ConfigError
from ..frameworks import Framework
from ..frameworks._base import Array


class Parts(Protocol):
    """A framework's part: the functions of the module `_parts_<framework>`."""

    def until(self, model: Any, layer: str, adapter: tuple[int, int, int] | None = None) -> Any:
        """The model, sharing its weights, as one that answers with what this layer gives.

        With an adapter (axis, width before, width after), that goes through a linear layer of its own along the axis.
        Raises ConfigError if there is no such layer.
        """

    def following(self, teacher: Any) -> Callable[..., Any]:
        """A loss, `loss(model, *batch)`: the mean of the squares of how far the model is from the teacher's answer."""

    def shallower(self, model: Any, share: float, inputs: tuple[Array, ...]) -> Any:
        """A copy of the model with this share, rounded up, of its blocks that repeat, evenly taken.

        Raises ConfigError if none repeat, or if it does not run without them.
        """


def parts(framework: Framework) -> Parts:
    """Those of this framework. Raises ConfigError if it has none."""
    if framework.name not in ("keras", "torch"):
        raise ConfigError("a finished model has no layers to learn from", hint="Distil before quantizing.")
    return cast(Parts, importlib.import_module(f"._parts_{framework.name}", __package__))


def taken(count: int, share: float) -> list[int]:
    """Which of `count` blocks stay: the share, rounded up, evenly; the first always, the last if more than one do."""
    left = max(math.ceil(count * share - 1e-9), 1)
    return sorted({round(at * (count - 1) / max(left - 1, 1)) for at in range(left)})


def repeated(signs: list[Any]) -> tuple[int, int, int] | None:
    """Where (start, blocks, length of one) a list repeats itself: the shortest block, then the most of them.

    A sign is what tells one item from another; None is that of an item which alone makes no block.
    """
    for length in range(1, len(signs) // 2 + 1):
        best: tuple[int, int, int] | None = None
        start = 0
        while start + 2 * length <= len(signs):
            end = start + length
            while end < len(signs) and signs[end] == signs[end - length]:
                end += 1
            blocks = (end - start) // length
            if blocks > 1 and any(sign is not None for sign in signs[start : start + length]):
                if best is None or blocks > best[1]:
                    best = start, blocks, length
                start = end - length + 1
            else:
                start += 1
        if best:
            return best
    return None


def no_blocks() -> ConfigError:
    """For a model without blocks that repeat."""
    return ConfigError(
        "the model has no blocks in a row that can be taken out",
        hint="A narrower student is made with keep= alone; or give a student of your own: student=.",
    )


def no_layer(layer: str, names: list[str]) -> ConfigError:
    """For a layer that is not there."""
    return ConfigError(f"the model has no layer {layer!r}", hint=f"It has {', '.join(map(repr, names))}.")
