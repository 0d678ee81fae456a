"""Models that are files, called the way the user's own code calls the model they were made from.

Runs in the kernel that holds the model. A user's `evaluate` was written for a Module or a Keras model; it gives
tensors and expects tensors, and says `model.eval()` or `model.predict(x)`. An `OnnxModel` or `LiteRtModel` takes
arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ConfigError
from . import frameworks
from .examples import array
from .frameworks._base import Array
from .measuring import is_file

#: What code does with a model to be allowed to ask it, and what such a model need not do.
_IDLE = ("eval", "train", "to", "cpu", "cuda", "float", "requires_grad_", "compile")


def in_kind(evaluate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The user's `evaluate`, which may now be given a model that is a file."""

    def ask(model: Any) -> Any:
        return evaluate(InKind(model) if is_file(model) else model)

    return ask


class InKind:
    """Such a model, which answers with tensors of the kind that it is asked with."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._of_keras = frameworks.of(model).name == "litert" and "tensorflow" in sys.modules
        self.training = False

    def __call__(self, *inputs: Any, training: bool = False) -> Any:
        """The answer. `training`, which Keras' models know, changes nothing."""
        flat = [part for each in inputs for part in (each if isinstance(each, tuple | list) else [each])]
        # A Keras model answers arrays with tensors, too.
        kind = "tensorflow" if isinstance(flat[0], np.ndarray) and self._of_keras else _framework(flat[0])
        return _like(kind, flat[0], self._model(*(array(each) for each in flat)))

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = 0, **_: Any) -> Array:
        """As a Keras model's: arrays, batch by batch."""
        parts = [array(each) for each in (x if isinstance(x, tuple | list) else [x])]
        size = batch_size or 32
        starts = range(0, len(parts[0]), size)
        return np.concatenate([self._model(*(part[start : start + size] for part in parts)) for start in starts])

    def __getattr__(self, name: str) -> Any:
        if name in _IDLE:
            return lambda *_, **__: self
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return getattr(self._model, name)
        except AttributeError:
            raise ConfigError(
                f"evaluate(model) uses model.{name}, which a {type(self._model).__name__} has not",
                hint="Let evaluate call the model, model(x), or model.predict(x), and do the rest itself.",
            ) from None


def _framework(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def _like(kind: str, asked: Any, answer: Array) -> Any:
    """The answer as the asked tensor's framework has it, where it is one."""
    if kind == "torch":
        import torch

        return torch.from_numpy(np.array(answer)).to(asked.device)
    if kind in ("tensorflow", "keras"):
        import tensorflow

        return tensorflow.convert_to_tensor(answer)
    return answer
