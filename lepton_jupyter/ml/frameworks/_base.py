"""What a framework must be able to do so that its models can be compressed.

Runs in the kernel that holds the model. Arrays are numpy's here; a framework keeps its own on its own device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Items(Protocol):
    """Some items of a weight, always the same ones."""

    def read(self) -> Array:
        """Their values, in 32-bit numbers."""

    def write(self, values: Array) -> None:
        """Set them."""


class Weight(Protocol):
    """One trainable array of a model, where it lies."""

    name: str
    shape: tuple[int, ...]

    def read(self) -> Array:
        """A copy."""

    def write(self, array: Array) -> None:
        """Set it, in place."""

    def items(self, places: npt.NDArray[np.int64]) -> Items:
        """The items at these places of the flat array."""

    def hold(self, mask: npt.NDArray[np.bool_]) -> Callable[[], None]:
        """What sets to zero, fast, all items for which `mask` is false."""


class Framework(Protocol):
    """One framework."""

    name: str

    def weights(self, model: Any) -> list[Weight]:
        """The trainable arrays of real numbers, each once, in the model's order."""

    def state(self, model: Any) -> dict[str, Array]:
        """Everything the model must have to be restored, by name, as numpy has it."""

    def restore(self, model: Any, arrays: dict[str, Array]) -> None:
        """Put in what `state` gave. Raises ConfigError if it is not this model's."""

    def copy(self, model: Any) -> Any:
        """The same model again, sharing nothing with it."""

    def after_each_step(self, model: Any, call: Callable[[], None]) -> AbstractContextManager[None]:
        """Within: `call` after each step of any optimizer that trains this model."""

    def trainer(self, model: Any, loss: Callable[..., Any]) -> Callable[[float, Sequence[Array]], float]:
        """A plain optimizer (Adam): `step(rate, batch)` makes one step down `loss(model, *batch)` and returns it."""

    def predict(self, model: Any, inputs: Sequence[Array]) -> Array:
        """The model's answer to one batch, in the mode in which it is used."""

    def tensors(self, model: Any, arrays: Sequence[Array]) -> tuple[Any, ...]:
        """The arrays as this framework has them, on the model's device."""

    def distilled(self, loss: Callable[..., Any], teacher: Any, temperature: float, alpha: float) -> Callable[..., Any]:
        """A loss of which `alpha` is Hinton's: how far the softened answer is from the teacher's, batch by batch."""

    def runner(self, model: Any, compiled: bool = False) -> Callable[[Sequence[Array]], Callable[[], Any]]:
        """For timing: `runner(model)(inputs)` has done all that is not the model's; calling that makes one answer."""

    def macs(self, model: Any, inputs: Sequence[Array]) -> int | None:
        """Multiply-accumulates for the answer to one of these examples, of kernels (layers, attention) alone; None
        where they can't be counted. Zeros count: what skips them is rare."""

    def threads(self) -> int:
        """How many threads the framework uses."""
