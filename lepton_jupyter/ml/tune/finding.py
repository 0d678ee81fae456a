"""A learning rate and a batch size for a cell, found by running a part of it as a probe.

Runs in the kernel. The probe ends the cell by an exception that no ``except Exception`` takes for its own, and all is
put back as it was; what the cell does to the world outside, such as writing files, it has done.

The learning rate by the range test of Smith (2017, arXiv 1506.01186): it grows with each step, and the loss, smoothed,
falls fastest where it is about right and goes up where it is too large.
"""

from __future__ import annotations

import functools
import inspect
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

from ...errors import ConfigError
from ..metrics import Listener, Meter
from . import plots

#: The range of rates, steps of the test, steps that are too few, the weight of what was in the smoothed loss.
LOW, HIGH, STEPS, FEWEST, SMOOTH = 1e-6, 10.0, 120, 15, 0.9
#: The loss has gone up for good at so many times its lowest.
_WORSE = 3.0
#: A loss that falls by less, as a share of what it was, has not fallen.
_FALL = 0.02
#: Of a batch size: steps to warm up, to measure, seconds that are enough; how much faster is worth doubling.
_WARM, _MEASURED, _LONG, _WORTH = 3, 8, 4.0, 1.1


class Enough(BaseException):
    """The probe has seen what it wanted."""


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


@dataclass(frozen=True, kw_only=True)
class FoundBatch:
    """`batch` is the best size; `rows` are (size, examples a second; None: it did not fit, why)."""

    batch: int
    rows: Sequence[tuple[int, float | None, str]]

    def __str__(self) -> str:
        lines = [
            f"{size:>8}  {f'{rate:,.0f} examples/s' if rate else ''}  {why}".rstrip() for size, rate, why in self.rows
        ]
        return "\n".join([f"batch size {self.batch}", *lines])


def find_rate(run: Callable[[], Any], meter: Meter, steps: int = STEPS) -> FoundRate:
    """Run the cell with a growing rate; once more if it has too few steps to get through the whole range.

    `run` runs it and puts all back. Raises ConfigError when no optimizer of PyTorch's and no `fit` of Keras' made
    enough steps, or no loss fell.
    """
    losses, ended = _raised(run, meter, steps)
    if ended and FEWEST <= len(losses) < steps:
        steps = len(losses)
        losses, _ = _raised(run, meter, steps)
    if len(losses) < FEWEST:
        raise ConfigError(
            f"the cell made {len(losses)} steps that tell their loss, and {FEWEST} are the least",
            hint="It has to train with an optimizer of PyTorch, or with Keras' fit. A cell of few steps: more epochs.",
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
        self._mean, self._lowest = 0.0, math.inf
        self._relative: dict[int, list[float]] = {}  # of each optimizer: its groups' rates, against the first's

    @property
    def rate(self) -> float:
        return rate_of(len(self.losses), self._steps)

    @contextmanager
    def set_up(self) -> Iterator[None]:
        handle: Any = None
        if "torch" in sys.modules:
            from torch.optim.optimizer import register_optimizer_step_pre_hook

            handle = register_optimizer_step_pre_hook(self._before_step)
        undo = _keras_callback(self._keras) if "keras" in sys.modules else None
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
        source = self._meter.sources.get("torch")
        loss = source().get("loss") if source is not None else None
        if loss is not None:
            self._take(float(loss))

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

    def _keras(self) -> Any:
        import keras

        probe = self

        class Probe(keras.callbacks.Callback):  # type: ignore[misc]
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self._sum, self._batches = 0.0, 0

            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                self.model.optimizer.learning_rate = probe.rate

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                if logs and "loss" in logs:  # the mean of this epoch's batches so far
                    before, self._batches = self._sum, self._batches + 1
                    self._sum = float(logs["loss"]) * self._batches
                    probe._take(self._sum - before)

        return Probe()


def _keras_callback(make: Callable[[], Any]) -> Callable[[], None]:
    """Have every `fit` call one callback more, first of all; returns what takes it away again."""
    import keras

    owner: Any = next(each for each in keras.Model.__mro__ if "fit" in vars(each))
    fit = owner.fit
    signature = inspect.signature(fit)

    @functools.wraps(fit)
    def probed(self: Any, *args: Any, **options: Any) -> Any:
        given = signature.bind(self, *args, **options)
        callbacks = given.arguments.get("callbacks") or []
        callbacks = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
        given.arguments["callbacks"] = [make(), *callbacks]
        return fit(*given.args, **given.kwargs)

    owner.fit = probed
    return lambda: setattr(owner, "fit", fit)


def find_batch(run: Callable[[int], Any], meter: Meter, first: int, most: int = 1 << 16) -> FoundBatch:
    """Run the cell's first steps with ever larger batches; `run` is given the size. Raises ConfigError.

    The best is the smallest of those that are nearly as fast, in examples a second, as the fastest; none beyond what
    fits into memory.
    """
    rows: list[tuple[int, float | None, str]] = []
    size, idle = first, 0
    while size <= most and idle < 2:
        probe = _SpeedProbe(meter)
        meter.listener = probe
        why = ""
        try:
            run(size)
            why = "the cell ended after so few steps" if probe.rate is None else ""
        except Enough:
            pass
        except BaseException as error:
            if not _is_memory(error):
                raise
            rows.append((size, None, f"out of memory: {type(error).__name__}"))
            break
        finally:
            meter.listener = None
        if probe.rate is None:
            rows.append((size, None, "all the data at once" if probe.whole else why))
            break
        fastest = max((rate for _, rate, _ in rows if rate), default=0.0)
        speed = probe.rate * size
        rows.append((size, speed, ""))
        idle = 0 if speed > _WORTH * fastest else idle + 1
        size *= 2
    fit = [(size, rate) for size, rate, _ in rows if rate]
    if not fit:
        raise ConfigError(
            f"a batch of {first}: {rows[0][2] if rows else 'nothing was run'}; nothing can be said",
            hint=f"The cell has to make more than {_WARM + 1} steps with it, told by PyTorch's or Keras' optimizers.",
        )
    fastest = max(rate for _, rate in fit)
    return FoundBatch(batch=next(size for size, rate in fit if rate * _WORTH >= fastest), rows=rows)


class _SpeedProbe(Listener):
    """Times some steps, then ends the cell. `rate`: steps a second; `whole`: a step takes all data."""

    def __init__(self, meter: Meter) -> None:
        self._meter, self._at, self._took = meter, 0.0, list[float]()
        self.rate: float | None = None
        self.whole = False

    def stepped(self) -> None:
        meter = self._meter
        meter.due = meter.steps <= _WARM  # to know the loops
        if meter.steps < _WARM:
            return
        if meter.steps == _WARM:
            _wait()
            loops = meter.around()
            self.whole = len(loops) > 1 and loops[-1].total <= 1
        else:
            if meter.steps >= _WARM + _MEASURED:
                _wait()
            self._took.append(max(time.monotonic() - self._at, 1e-9))
            self.rate = 1 / statistics.median(self._took)
        self._at = time.monotonic()
        if self.whole or meter.steps >= _WARM + _MEASURED or sum(self._took) > _LONG:
            raise Enough


def _wait() -> None:
    """Until a GPU has done what it was given."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _is_memory(error: BaseException) -> bool:
    name = type(error).__name__
    known = isinstance(error, MemoryError) or name in ("OutOfMemoryError", "ResourceExhaustedError")
    return known or (isinstance(error, RuntimeError) and "out of memory" in str(error))


def _two(value: float) -> float:
    return float(f"{value:.2g}")
