"""The metrics of a job as curves of few points, and which of them is the main one."""

from __future__ import annotations

from typing import Any

#: A curve has at most this many points, and a job this many curves beside the preferred ones.
MOST_POINTS, _MOST_CURVES = 60, 24
#: Names that are kept to be counted.
_MOST_NAMES = 10_000
#: The main metric is the first of these that there is, else the first that came.
_PREFERRED = ("val_loss", "eval_loss", "loss", "train_loss", "test_loss", "val_accuracy", "accuracy", "train_accuracy")


class Curves:
    """All metrics of one job."""

    def __init__(self) -> None:
        self._curves: dict[str, _Curve] = {}
        self.names: set[str] = set()  # of all metrics, those without a curve too

    def take(self, name: str, x: float, value: float | None) -> None:
        """A metric was printed, `x` seconds after the job began."""
        if len(self.names) < _MOST_NAMES:
            self.names.add(name)
        if name in self._curves or name in _PREFERRED or len(self._curves) < _MOST_CURVES:
            self._curves.setdefault(name, _Curve()).add(x, value)

    def telemetry(self) -> dict[str, Any]:
        """The key ``metric`` of a job's telemetry, or nothing; `count` is how many values its points stand for."""
        if not self._curves:
            return {}
        name = min(self._curves, key=self._rank)
        curve = self._curves[name]
        points = [list(point) for point in curve.points]
        return {"metric": {"name": name, "value": curve.value, "points": points, "count": curve.count}}

    def _rank(self, name: str) -> tuple[bool, int]:
        short = len(self._curves[name].points) < 2 and any(len(curve.points) > 1 for curve in self._curves.values())
        return short, _PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED)


class _Curve:
    """Points at least `_gap` apart; when there are too many, every second one goes and the gap doubles."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []
        self.value: float | None = None  # the newest; None for NaN and infinity, which are no points
        self.count = 0  # of the values that are numbers
        self._gap = 0.0

    def add(self, x: float, value: float | None) -> None:
        self.value = None if value is None else _short(value)
        if self.value is None:
            return
        self.count += 1
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
