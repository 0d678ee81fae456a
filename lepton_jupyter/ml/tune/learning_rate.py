"""A learning rate for a cell, by the range test of Smith (2017, arXiv 1506.01186). Runs in the kernel.

The cell runs with a rate that grows with each step. The loss, smoothed, falls fastest where the rate is about right,
and goes up where it is too large.
"""

from __future__ import annotations

import functools
import inspect
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

from ...errors import ConfigError
from ..metrics import Listener, Meter
from . import plots
from .watching import Enough

#: The range of rates, steps of the test, steps that are too few, the weight of what was in the smoothed loss.
LOW, HIGH, STEPS, FEWEST, SMOOTH = 1e-6, 10.0, 120, 15, 0.9
#: The loss has gone up for good at so many times its lowest.
_WORSE = 3.0
#: A loss that falls by less, as a share of what it was, has not fallen.
_FALL = 0.02


@dataclass(frozen=True, kw_only=True)
class FoundRate:
    """`rate` is where the loss fell fastest; `most` where it went up. `points`: rate and smoothed loss of each step."""

    rate: float
    most: float
    points: Sequence[tuple[float, float]]

    def __str__(self) -> str:
        return (
            f"learning rate {self.rate:.2g}: there the loss fell fastest in {len(self.points)} steps; beyond "
            f"{self.most:.2g} it went up."
        )

    def _repr_html_(self) -> str:
        picture = plots.curve(self.points, self.rate, "loss by learning rate; line: where it fell fastest")
        return f"<p>{escape(str(self))}</p>{picture}"


def find_rate(run: Callable[[], Any], meter: Meter, steps: int = STEPS) -> FoundRate:
    """Run the cell with a growing rate; once more if it has too few steps to get through the whole range.

    `run` runs it and puts all back. Raises ConfigError when no optimizer made enough steps, or no loss fell.
    """
    losses, ended = _raised(run, meter, steps)
    if ended and FEWEST <= len(losses) < steps:
        steps = len(losses)
        losses, _ = _raised(run, meter, steps)
    if len(losses) < FEWEST:
        raise ConfigError(
            f"the cell made {len(losses)} steps that tell their loss, and {FEWEST} are the least",
            hint="It has to make the optimizer, PyTorch's or Keras', that it trains with. A short cell: more epochs.",
        )
    return judged([(rate_of(step, steps), loss) for step, loss in enumerate(losses)])


def rate_of(step: int, steps: int) -> float:
    """The rate of one of so many steps."""
    return float(LOW * (HIGH / LOW) ** (step / (steps - 1)))


def _raised(run: Callable[[], Any], meter: Meter, steps: int) -> tuple[list[float], bool]:
    """The losses of a run with a growing rate, and whether the cell came to its end."""
    probe = _RateProbe(meter, steps)
    with probe.set_up():
        try:
            run()
        except Enough:
            if probe.scheduled:
                raise ConfigError(
                    "the learning rate follows a schedule, which cannot be raised step by step",
                    hint="Give the optimizer a number while you look for one: Adam(learning_rate=1e-3).",
                ) from None
            return probe.losses, False
    return probe.losses, True


def judged(points: Sequence[tuple[float, float]]) -> FoundRate:
    """The rate that rates and losses of steps suggest. Raises ConfigError when the loss never fell."""
    smooth, mean = [], 0.0
    for number, (rate, loss) in enumerate(points, 1):
        mean = SMOOTH * mean + (1 - SMOOTH) * loss
        smooth.append((rate, mean / (1 - SMOOTH**number)))
    first = statistics.median(loss for _, loss in points[: max(FEWEST // 2, len(points) // 3)])  # single batches jump
    lowest = min(range(len(smooth)), key=lambda each: smooth[each][1])
    fall = first - smooth[lowest][1]
    if lowest < 2 or fall < _FALL * abs(first):
        raise ConfigError("the loss did not fall at any learning rate", hint="Does the cell train what its loss is of?")
    # Where the fall begins for good: what is steep before is of batches that are easy or hard.
    high = [at for at in range(1, lowest) if smooth[at][1] > first - 0.5 * fall]
    flat = [at for at in high if smooth[at][1] > first - 0.1 * fall and at > high[-1] - len(points) // 4]
    begin = max(flat or high or [lowest - 1])
    steepest = min(
        range(begin, lowest + 1),
        key=lambda at: (smooth[at][1] - smooth[at - 1][1]) / math.log(smooth[at][0] / smooth[at - 1][0]),
    )
    behind = round(1 / (1 - SMOOTH)) // 2  # the smoothed loss is late by the steps that it remembers
    return FoundRate(rate=_two(smooth[max(steepest - behind, 0)][0]), most=_two(smooth[lowest][0]), points=smooth)


class _RateProbe(Listener):
    """Sets the rate before each step, keeps the loss after it, and ends the cell."""

    def __init__(self, meter: Meter, steps: int) -> None:
        self._meter, self._steps = meter, steps
        self.losses: list[float] = []
        self.scheduled = False  # the rate is not a number that could be set
        self._mean, self._lowest = 0.0, math.inf
        self._relative: dict[int, list[float]] = {}  # of each optimizer: its groups' rates, against the first's
        self._of_tapes: list[Any] = []  # optimizers of Keras whose steps the cell writes itself

    @property
    def rate(self) -> float:
        return rate_of(len(self.losses), self._steps)

    @contextmanager
    def set_up(self) -> Iterator[None]:
        handle: Any = None
        if "torch" in sys.modules:
            from torch.optim.optimizer import register_optimizer_step_pre_hook

            handle = register_optimizer_step_pre_hook(self._before_step)
        undo = _watch_keras(self._keras, self._before_apply) if "keras" in sys.modules else None
        self._meter.listener = self
        try:
            yield
        finally:
            self._meter.listener = None
            if handle is not None:
                handle.remove()
            if undo is not None:
                undo()

    def stepped(self) -> None:
        source = self._meter.sources.get("torch") or self._meter.sources.get("tape")
        loss = source().get("loss") if source is not None else None
        if loss is None:
            return
        self._take(float(loss))
        for optimizer in self._of_tapes:
            self._set(optimizer)

    def _take(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise Enough
        self.losses.append(loss)
        self._mean = SMOOTH * self._mean + (1 - SMOOTH) * loss
        smooth = self._mean / (1 - SMOOTH ** len(self.losses))  # single batches jump
        if len(self.losses) >= FEWEST:
            self._lowest = min(self._lowest, smooth)
        if len(self.losses) >= self._steps or smooth > _WORSE * self._lowest:
            raise Enough

    def _before_step(self, optimizer: Any, *_: Any) -> None:
        groups = optimizer.param_groups
        if id(optimizer) not in self._relative:
            first = float(groups[0]["lr"]) or 1.0
            self._relative[id(optimizer)] = [float(group["lr"]) / first for group in groups]
        for group, share in zip(groups, self._relative[id(optimizer)], strict=False):
            group["lr"] = self.rate * share

    def _before_apply(self, optimizer: Any) -> None:
        """Gradients are about to be applied; in a compiled step this runs when it is traced, before its first run."""
        if "keras" in self._meter.sources:  # `fit`: its callback sets the rate
            return
        if not any(each is optimizer for each in self._of_tapes):
            self._of_tapes.append(optimizer)
            self._set(optimizer)

    def _set(self, optimizer: Any) -> None:
        try:
            optimizer.learning_rate = self.rate
        except TypeError:
            self.scheduled = True
            raise Enough from None  # TensorFlow would put another error around ours

    def _keras(self) -> Any:
        import keras

        probe = self

        class Probe(keras.callbacks.Callback):  # type: ignore[misc]
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self._sum, self._batches = 0.0, 0

            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                probe._set(self.model.optimizer)

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                if logs and "loss" in logs:  # the mean of this epoch's batches so far
                    before, self._batches = self._sum, self._batches + 1
                    self._sum = float(logs["loss"]) * self._batches
                    probe._take(self._sum - before)

        return Probe()


def _watch_keras(make: Callable[[], Any], before_apply: Callable[[Any], None]) -> Callable[[], None]:
    """Have every `fit` call one callback more, first of all, and `before_apply` told of every step that is written by
    hand on TensorFlow; returns what takes it away again."""
    import keras

    owner: Any = next(each for each in keras.Model.__mro__ if "fit" in vars(each))
    base: Any = next(each for each in keras.optimizers.Optimizer.__mro__ if "apply" in vars(each))
    fit, apply = owner.fit, base.apply
    signature = inspect.signature(fit)

    @functools.wraps(fit)
    def probed(self: Any, *args: Any, **options: Any) -> Any:
        given = signature.bind(self, *args, **options)
        callbacks = given.arguments.get("callbacks") or []
        callbacks = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
        given.arguments["callbacks"] = [make(), *callbacks]
        return fit(*given.args, **given.kwargs)

    owner.fit = probed
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        @functools.wraps(apply)
        def announced(self: Any, *args: Any, **options: Any) -> Any:
            with tf.init_scope():
                before_apply(self)
            return apply(self, *args, **options)

        base.apply = announced

    def undo() -> None:
        owner.fit, base.apply = fit, apply

    return undo


def _two(value: float) -> float:
    return float(f"{value:.2g}")
