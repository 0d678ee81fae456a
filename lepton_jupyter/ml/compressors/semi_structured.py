"""2:4 pruning: of each four weights in a row along a kernel's inputs, two at most are not zero.

Runs in the kernel that holds the model. The pattern that NVIDIA's sparse tensor cores multiply at up to twice the rate
(Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks"); which two stay is decided by their size, and the
others go little by little (Zhu and Gupta 2017) while the net trains on. The answer holds plain tensors with that
pattern: it is as fast as before until something uses the pattern. With PyTorch on such a GPU that is, layer by layer,
for matrices whose sides the hardware takes (multiples of 64 fit all types)::

    layer.weight = nn.Parameter(torch.sparse.to_sparse_semi_structured(layer.weight.half()))

PyTorch has nothing that uses it on a CPU, TensorFlow nothing at all; zeros make a packed file smaller anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import ConfigError
from .. import frameworks
from ..frameworks import Weight
from ..frameworks._base import Array
from ._base import Task
from .pruning import chosen, gradually

#: The axis of a kernel along which products are summed: (outputs, inputs, …) in PyTorch, (…, inputs, outputs) in Keras.
INPUTS = {"torch": 1, "keras": -2}


@dataclass(frozen=True, kw_only=True)
class SemiStructured:
    """Leaves two of each four weights, after `rounds` of training.

    For the first `ramp` of the time weights go; then the net settles. `only` names the weights to prune; all kernels
    otherwise. Kernels with fewer than four inputs stay whole; a last group of three keeps two, smaller ones all.
    """

    rounds: int = 5
    ramp: float = 0.6
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rounds < 1 or not 0 <= self.ramp < 1:
            raise ConfigError(
                f"can't prune in {self.rounds} rounds with a ramp of {self.ramp}",
                hint="rounds are at least 1, ramp is from 0 to below 1.",
            )

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`. Weights that were zero stay zero. Raises ConfigError if no kernel has four inputs."""
        framework = frameworks.of(model)
        model = framework.copy(model)
        axis = INPUTS.get(framework.name)
        weights = chosen(framework.weights(model), self.only)
        kernels = [weight for weight in weights if axis is not None and _inputs(weight, axis) >= 4]
        if axis is None or not kernels:
            raise ConfigError("no kernel to prune has four inputs", hint="Prune with Pruning, which needs no pattern.")
        holds: list[Callable[[], None]] = []

        def decide(left: float) -> None:
            arrays = [weight.read() for weight in kernels]
            holds[:] = [
                weight.hold(two_of_four(array, axis, left) & (array != 0))
                for weight, array in zip(kernels, arrays, strict=True)
            ]

        def apply() -> None:
            for zero in holds:
                zero()

        decide(1)
        gradually(framework, model, task, self.rounds, self.ramp, decide, apply)
        return model


def _inputs(weight: Weight, axis: int) -> int:
    return weight.shape[axis] if len(weight.shape) >= 2 else 0


def two_of_four(array: Array, axis: int, left: float = 0.0) -> npt.NDArray[np.bool_]:
    """True for the two largest of each four along `axis`, and for the share `left` of the others, the larger ones."""
    rows = np.moveaxis(np.abs(array), axis, -1)
    count = rows.shape[-1]
    # What is missing to a whole four counts as smaller than anything.
    padded = np.full((*rows.shape[:-1], -(-count // 4) * 4), -1.0)
    padded[..., :count] = rows
    fours = padded.reshape(-1, 4)
    stays = np.zeros(fours.shape, bool)
    np.put_along_axis(stays, np.argsort(fours, axis=1, kind="stable")[:, 2:], True, axis=1)
    others = np.flatnonzero(~stays & (fours >= 0))
    still = round(left * len(others))
    if still:
        stays.ravel()[others[np.argsort(fours.ravel()[others], kind="stable")[len(others) - still :]]] = True
    return np.moveaxis(stays.reshape(padded.shape)[..., :count], -1, axis)


PLUGIN = SemiStructured
