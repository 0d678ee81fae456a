"""A batch size for a cell: the first steps of it are timed with ever larger ones. Runs in the kernel."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from ..metrics import Listener, Meter
from .watching import Enough

#: Steps to warm up, to measure, seconds that are enough; how much faster is worth doubling.
_WARM, _MEASURED, _LONG, _WORTH = 3, 8, 4.0, 1.1


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
