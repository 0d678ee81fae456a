"""What the user gave to compress(), made complete: data as arrays, a loss and a metric where none was named.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from . import defaults, frameworks
from ._judging import Evaluate, Judging, judging
from .compressors import Task
from .examples import array, arrays
from .frameworks._base import Array


@dataclass(frozen=True, kw_only=True)
class Given:
    """`examples`: inputs to measure time with; `logits`: the answers are such."""

    task: Task
    metrics: Judging
    examples: tuple[Array, ...] | None
    logits: bool


def given(
    model: Any,
    *,
    data: Any,
    loss: Callable[..., Any] | None,
    train: Callable[[Any], object] | None,
    evaluate: Evaluate | None,
    test: Any,
    inputs: Any,
    seed: int,
    choosing: bool,
) -> Given:
    """Complete it. Raises ConfigError for data that does not fit the model where that has to be understood."""
    framework = frameworks.of(model)
    parts = None if data is None else arrays(data, seed)
    means = None
    if parts is not None:
        try:
            means = defaults.answers(model, parts)
        except ConfigError:
            if evaluate is None and (choosing or test is None):
                raise
    metrics, parts = judging(model, parts, means, evaluate=evaluate, test=test, seed=seed, choosing=choosing)
    if loss is None and means is not None:
        loss = defaults.loss(framework, model, means)
    examples = None if parts is None else parts[:-1]
    if inputs is not None:
        examples = tuple(array(each) for each in (inputs if isinstance(inputs, tuple | list) else [inputs]))
    if parts is None and examples is not None:
        parts = (*examples, examples[0])  # to calibrate with; what trains will ask for the loss
    batch = 128 if parts is None else min(max(len(parts[0]) // 40, 16), 128)
    return Given(
        task=Task(train=train, data=parts, loss=loss, batch=batch, seed=seed),
        metrics=metrics,
        examples=examples,
        logits=means is not None and means.what == "classes" and not means.probabilities,
    )
