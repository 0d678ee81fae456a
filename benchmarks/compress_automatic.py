"""How long the automatic mode takes to its answer, and what that is worth; for PyTorch and for Keras."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from lepton_jupyter.ml import compress

from ._table import Row
from .compress_rows import error

#: The share of right answers that may be lost, and seconds that it is given.
TOLERANCE, BUDGET = 0.005, 300.0


def automatic(
    base: Any, name: str, data: tuple[np.ndarray, np.ndarray], tests: tuple[np.ndarray, np.ndarray], quick: bool
) -> list[Row]:
    """One run of it, as a user has it who gives a trained model and its data."""
    # A quick run is given less than what measuring the compiled model needs, and one trial.
    budget, trials = (110.0, 1) if quick else (BUDGET, None)
    began = time.monotonic()
    told: list[float] = []

    def tell(share: float, words: str) -> None:
        told.append(time.monotonic() - began)

    report = compress(base, data=data, budget=budget, trials=trials, tolerance=TOLERANCE, progress=tell)
    took = time.monotonic() - began
    fitting = next(index for index, each in enumerate(report.tried) if not each.why)
    first = told[0] + sum(each.seconds for each in report.tried[: fitting + 1])
    before, after = report.before, report.after
    assert before.sizes and after.sizes and before.metric and after.metric
    lost = before.metric.value - after.metric.value
    assert after.metric.low is not None and after.metric.high is not None
    chance = (after.metric.high - after.metric.low) / 2
    errors = [error(model, *tests) for model in (base, report.model)]
    times = ", ".join(
        f"{base.median / mine.median:.1f}× at batch {mine.batch}"
        for base, mine in zip(before.latencies, after.latencies, strict=True)
    )
    most = max(each.seconds for each in report.tried)
    return [
        Row(
            figure=f"automatic mode, {name}: time to its answer, of {budget:.0f} s, 1 thread",
            goal=f"within the budget, at most one step more; ≤ {100 * TOLERANCE} points lost on the test pictures",
            ours=f"{took:.0f} s, {len(report.tried)} pipelines tried, the first that fits after "
            f"{first:.0f} s; {' → '.join(report.steps)}; test error {errors[0]:.2f} → {errors[1]:.2f} %; by its report "
            f"{100 * lost:+.2f} points lost on pictures that neither trained nor chose (±{100 * chance:.1f} by chance)",
            peer=f"fp32 eager: {before.sizes.zipped / after.sizes.zipped:.1f}× smaller zipped, {times}",
            ratio=f"{took / budget:.2f}",
            met=None if quick else took <= budget + most and errors[1] - errors[0] <= 100 * TOLERANCE,
        )
    ]
