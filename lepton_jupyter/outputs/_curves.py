"""The metrics a job printed, as curves of few points, and which of them is the main one."""

from __future__ import annotations

from typing import Any

#: A curve has at most this many points, and a job this many curves.
MOST_POINTS, _MOST_CURVES = 60, 24
#: The main metric is the first of these that there is, else the first that came.
_PREFERRED = ("val_loss", "eval_loss", "loss", "train_loss", "test_loss", "val_accuracy", "accuracy", "train_accuracy")


class Curves:
    """All metrics of one job."""

    def __init__(self) -> None:
        self._curves: dict[str, _Curve] = {}

    def take(self, name: str, x: float, value: float | None) -> None:
        """A metric was printed, `x` seconds after the job began."""
        if name in self._curves or len(self._curves) < _MOST_CURVES:
            self._curves.setdefault(name, _Curve()).add(x, value)

    def telemetry(self) -> dict[str, Any]:
        """The key ``metric`` of a job's telemetry, or nothing."""
        if not self._curves:
            return {}
        name = min(self._curves, key=self._rank)
        curve = self._curves[name]
        return {"metric": {"name": name, "value": curve.value, "points": [list(point) for point in curve.points]}}

    def _rank(self, name: str) -> tuple[bool, int]:
        short = len(self._curves[name].points) < 2 and any(len(curve.points) > 1 for curve in self._curves.values())
        return short, _PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED)


class _Curve:
    """Points at least `_gap` apart; when there are too many, every second one goes and the gap doubles."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []
        self.value: float | None = None  # the newest; None for NaN and infinity, which are no points
        self._gap = 0.0

    def add(self, x: float, value: float | None) -> None:
        self.value = None if value is None else _short(value)
        if self.value is None:
            return
        point = (round(x, 1), self.value)
        if len(self.points) > 1 and x - self.points[-2][0] < self._gap:
            self.points[-1] = point
            return
        self.points.append(point)
        if len(self.points) > MOST_POINTS:
            span = self.points[-1][0] - self.points[0][0]
            self.points = [*self.points[:-1:2], point]
            self._gap = max(2 * self._gap, 2 * span / MOST_POINTS)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
