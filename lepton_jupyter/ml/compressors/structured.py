"""Structured pruning: whole channels and neurons go, so that tensors get smaller and the model faster everywhere.

Runs in the kernel that holds the model. How layers hang together is the framework's part (`_narrowing_*`). The answer
keeps its shape: that is checked.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from .. import frameworks
from ._base import Task, train
from ._narrowing_base import Narrow, stuck

#: Frameworks with a module `_narrowing_*`.
KNOWN = ("keras", "torch")


@dataclass(frozen=True, kw_only=True)
class Structured:
    """Leaves the share `keep` of each layer's channels or neurons, in `steps` with `rounds` of training in all.

    Attention heads and the units of recurrent layers are among them. Widths are rounded up to a multiple of `multiple`.
    `fixed` names modules or layers that keep their width; the last layer always does, since its width is that of the
    answer, and so do recurrent layers whose units are mixed before a layer reads them.
    """

    keep: float = 0.5
    rounds: int = 4
    steps: int = 1
    multiple: int = 1
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1 or self.rounds < 0 or self.steps < 1 or self.multiple < 1:
            raise ConfigError(
                f"can't keep {self.keep} of each layer in {self.steps} steps",
                hint="keep is above 0 and at most 1, steps and multiple are at least 1.",
            )

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`. Raises ConfigError for a model that can't be narrowed, and says at what it failed."""
        framework = frameworks.of(model)
        if framework.name not in KNOWN:
            raise ConfigError(
                f"a finished model ({type(model).__name__}) can't be narrowed any more",
                hint="Narrow the PyTorch or Keras model first, then quantize it.",
            )
        narrow: Narrow = importlib.import_module(f"._narrowing_{framework.name}", __package__).narrow
        inputs = task.samples(2)
        before = framework.predict(model, inputs).shape
        was, small = _size(model), model
        narrowed = narrow(model, inputs, keep=self.keep, steps=self.steps, multiple=self.multiple, fixed=self.fixed)
        for step, small in enumerate(narrowed):
            try:
                after = framework.predict(small, inputs).shape
            except Exception as error:  # a model's own code may raise anything once its widths have changed
                raise stuck(error) from error
            if after != before:
                raise ConfigError(
                    f"the model's answer would change its shape from {before} to {after}",
                    hint="Name the layer that gives the answer in fixed=.",
                )
            rounds = self.rounds * (step + 1) // self.steps - self.rounds * step // self.steps
            if rounds:
                train(framework, small, task, rounds)
        if self.keep < 1 and _size(small) == was:
            raise ConfigError(
                "there is nothing to narrow: the last layer and those in fixed= keep their width, and so do recurrent "
                "layers whose units are mixed before a layer reads them",
                hint="Train a narrower student instead: Distilling(student=...).",
            )
        return small


def _size(model: Any) -> int:
    return sum(math.prod(weight.shape) for weight in frameworks.of(model).weights(model))


PLUGIN = Structured
