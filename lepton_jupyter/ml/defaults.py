"""What is trained for and judged by where the user does not say: told from the model's answers and the targets.

Runs in the kernel that holds the model. Whole numbers as targets are classes: cross-entropy and accuracy; other numbers
are to be met: mean squared error, and its negative as the metric, since higher is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..errors import ConfigError
from . import frameworks
from .frameworks import Framework
from .frameworks._base import Array

#: How many examples go into the model at once where it is judged.
BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model's answers mean. Classes lie along `axis`; `probabilities`: already between 0 and 1, and of sum 1."""

    what: Literal["classes", "yes or no", "numbers"]
    axis: int = -1
    probabilities: bool = False

    @property
    def metric(self) -> str:
        """The metric in words."""
        return "−mean squared error" if self.what == "numbers" else "accuracy"


def answers(model: Any, data: Sequence[Array]) -> Answers:
    """Look at what the model says to a few examples. Raises ConfigError where targets can't be compared with that."""
    framework, inputs = frameworks.of(model), tuple(part[:BATCH] for part in data[:-1])
    try:
        answer = framework.predict(model, inputs)
    except Exception as error:  # the model's own code
        text = (str(error).strip().splitlines() or ["no words"])[0]
        shapes = " and ".join(f"{part.shape} ({part.dtype})" for part in inputs)
        raise ConfigError(
            f"the model does not take inputs of the shape {shapes}: {type(error).__name__}: {text}",
            hint="Give the inputs as the model is called with them, examples along the first axis, then the targets.",
        ) from error
    target = data[-1][: len(answer)]
    shape = target.shape[:-1] if target.ndim > 1 and target.shape[-1] == 1 else target.shape
    if data[-1].dtype == np.int64:
        for axis in (-1, 1):
            if answer.ndim > 1 and np.delete(answer.shape, axis).tolist() == list(shape) and answer.shape[axis] > 1:
                sums = answer.sum(axis)
                sure = bool((answer >= 0).all() and np.allclose(sums, 1, atol=1e-3))
                return Answers(what="classes", axis=axis, probabilities=sure)
        if answer.size == target.size and np.isin(target, (0, 1)).all():
            return Answers(what="yes or no", probabilities=bool(((answer >= 0) & (answer <= 1)).all()))
    if answer.size == target.size:
        return Answers(what="numbers")
    raise ConfigError(
        f"the model answers in the shape {answer.shape}, the targets are of shape {target.shape} ({target.dtype})",
        hint="Give loss=, a function loss(model, *batch), and evaluate=, a function of a model.",
    )


def metric(means: Answers, data: Sequence[Array]) -> Callable[[Any], Array]:
    """`evaluate(model)` on this data: for each example, how right it was (0 to 1), or minus its squared error."""

    def evaluate(model: Any) -> Array:
        framework = frameworks.of(model)
        scores = []
        for start in range(0, len(data[0]), BATCH):
            *inputs, target = (part[start : start + BATCH] for part in data)
            scores.append(_scores(means, framework.predict(model, inputs), target))
        return np.concatenate(scores)

    return evaluate


def _scores(means: Answers, answer: Array, target: Array) -> Array:
    if means.what == "classes":
        scores = answer.argmax(means.axis).reshape(target.shape) == target
    elif means.what == "yes or no":
        scores = (answer.reshape(target.shape) > (0.5 if means.probabilities else 0)) == target
    else:
        scores = -np.square(answer.reshape(target.shape).astype(np.float64) - target)
    found: Array = scores.reshape(len(target), -1).mean(1)
    return found


def loss(framework: Framework, model: Any, means: Answers) -> Callable[..., Any] | None:
    """The usual loss for such answers; of a compiled Keras model its own. None for what is not trained any more."""
    if framework.name == "torch":
        return _of_torch(means)
    return _of_keras(model, means) if framework.name == "keras" else None


def _of_torch(means: Answers) -> Callable[..., Any]:
    from torch.nn import functional

    def calculate(model: Any, *batch: Any) -> Any:
        *inputs, target = batch
        answer = model(*inputs)
        if means.what == "classes":
            answer = answer.movedim(means.axis, -1).flatten(0, -2)
            if means.probabilities:
                return functional.nll_loss(answer.clamp_min(1e-7).log(), target.flatten())
            return functional.cross_entropy(answer, target.flatten())
        target = target.reshape(answer.shape).to(answer.dtype)
        if means.what == "yes or no":
            if means.probabilities:
                return functional.binary_cross_entropy(answer, target)
            return functional.binary_cross_entropy_with_logits(answer, target)
        return functional.mse_loss(answer, target)

    return calculate


def _of_keras(model: Any, means: Answers) -> Callable[..., Any]:
    import keras

    own = getattr(model, "loss", None)
    if isinstance(own, dict | list | tuple):
        raise ConfigError("the model was compiled with several losses", hint="Give loss=, loss(model, *batch).")
    if own is not None:
        calculate = keras.losses.get(own)
    elif means.what == "classes":
        if means.axis != -1:
            raise ConfigError("the classes are not along the last axis", hint="Give loss=, loss(model, *batch).")
        calculate = keras.losses.SparseCategoricalCrossentropy(from_logits=not means.probabilities)
    elif means.what == "yes or no":
        calculate = keras.losses.BinaryCrossentropy(from_logits=not means.probabilities)
    else:
        calculate = keras.losses.MeanSquaredError()

    def of_batch(model: Any, *batch: Any) -> Any:
        *inputs, target = batch
        answer = model(inputs[0] if len(inputs) == 1 else inputs, training=True)
        if means.what != "classes":
            target = keras.ops.cast(keras.ops.reshape(target, keras.ops.shape(answer)), answer.dtype)
        return keras.ops.mean(calculate(target, answer))

    return of_batch
