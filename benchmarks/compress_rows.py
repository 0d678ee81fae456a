"""The rows of compressed speed, the same for PyTorch and for Keras: against eager, with the error of each contender."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lepton_jupyter.ml import frameworks

from ._table import Row, Sample

#: The batches, and what is to be reached at each.
GOALS = {1: 10, 128: 7}
#: Points of accuracy that may be lost.
LOST = 0.5


def row(
    title: str, goal: int, found: Mapping[str, Sample], errors: Mapping[str, float], quick: bool, more: str = ""
) -> Row:
    """`found` has "ours" and "eager" among it; `errors` in per cent, of those that do not compute as eager does."""
    eager, ours = found["eager"], found["ours"]
    ratio, lost = eager.median / ours.median, errors["ours"] - errors["eager"]
    peers = ", ".join(
        f"{name} {eager.median / sample.median:.2f}×" + (f" ({errors[name]:.2f} %)" if name in errors else "")
        for name, sample in found.items()
        if name not in ("eager", "ours")
    )
    return Row(
        figure=title,
        goal=f"≥ {goal}× at ≤ {LOST} points lost",
        ours=f"{_spread(ours)}; error {errors['eager']:.2f} → {errors['ours']:.2f} %",
        peer=f"eager {_spread(eager)}; by hand (error): {peers}{more}",
        ratio=f"{ratio:.1f}×",
        met=None if quick else ratio >= goal and lost <= LOST,
    )


def timed(call: Callable[[], object]) -> Callable[[], float]:
    """How many seconds it takes."""

    def measure() -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    return measure


def again(measure: Callable[[], float]) -> Callable[[], float]:
    """The second of two calls: the first finds in the processor's caches what the other contenders left there."""

    def second() -> float:
        measure()
        return measure()

    return second


def error(model: Any, pictures: np.ndarray, digits: np.ndarray) -> float:
    """Wrong answers in per cent."""
    framework = frameworks.of(model)
    parts = np.array_split(pictures, max(len(pictures) // 500, 1))
    answers = np.concatenate([framework.predict(model, [part]) for part in parts])
    return 100 * float((answers.argmax(1) != digits).mean())


def _spread(sample: Sample) -> str:
    """Milliseconds, with three digits."""
    low, median, high = (1000 * float(each) for each in np.percentile(sample.values, [25, 50, 75]))
    return f"{median:.3g} ms ({low:.3g}–{high:.3g})"
