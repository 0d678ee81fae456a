"""How a job used its host, point by point: a file in the job's folder that outlives the agent.

Runs in the agent's sampling thread, and in the reader. One JSON object a line; a torn line is skipped. The file is
bounded: when it has too many points, two of the older half become one, again and again, so that a month has a coarse
beginning and a fine end.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from typing import Any

from .storage import job_folder
from .usage import Usage

MOST_POINTS = 2000
#: An answer has room for so much; more points are merged for it.
_MOST_BYTES = 1 << 19

Point = dict[str, Any]


class History:
    """The points of one job that runs."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "resources")
        self._lock = threading.Lock()
        self._usage = Usage()
        self._count = 0

    def add(self, sample: Point) -> None:
        """Keep what matters later of a sample. A disk that is full costs the point, not the job."""
        point = _point(sample)
        with self._lock:
            self._usage.add(point)
        with contextlib.suppress(OSError):
            self._write([point], os.O_APPEND)
            self._count += 1
            if self._count > MOST_POINTS:
                self._shrink()

    def usage(self) -> dict[str, Any]:
        """The sum of it so far, at once; nothing when there is no point yet."""
        with self._lock:
            return self._usage.summary()

    def _shrink(self) -> None:
        points = _read(self._path)
        half = len(points) // 2
        points = _merged(points[:half]) + points[half:]
        part = f"{self._path}.{os.getpid()}"
        path, self._path = self._path, part
        try:
            self._write(points, os.O_TRUNC)
            os.replace(part, path)
        finally:
            self._path = path
        self._count = len(points)

    def _write(self, points: list[Point], mode: int) -> None:
        data = "".join(json.dumps(point, separators=(",", ":")) + "\n" for point in points).encode()
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | mode, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)


def answer(root: str, job_id: str) -> dict[str, Any]:
    """What a `history` request is told: samples (thinned until they fit) and words. Raises UnknownJob for a bad id."""
    points = _read(os.path.join(job_folder(root, job_id), "resources"))
    words = str(_summed(points).get("words", ""))
    while len(points) > 1 and len(json.dumps(points)) > _MOST_BYTES:
        points = _merged(points)
    return {"samples": points, "words": words}


def stored_usage(root: str, job_id: str) -> dict[str, Any]:
    """The sum of what a job's file has, for a job whose agent is gone."""
    return _summed(_read(os.path.join(job_folder(root, job_id), "resources")))


def _summed(points: list[Point]) -> dict[str, Any]:
    usage = Usage()
    for point in points:
        usage.add(point)
    return usage.summary()


def _point(sample: Point) -> Point:
    """A sample without what is of the moment: processes become whether they are the job's own or others'."""
    point: Point = {key: sample[key] for key in ("time", "cpu", "memory", "kernel") if key in sample}
    point["devices"] = []
    for device in sample.get("devices") or []:
        kept = {key: value for key, value in device.items() if key != "processes"}
        holders = device.get("processes") or []
        kept["mine"] = any(holder.get("mine") for holder in holders)
        kept["others"] = any(not holder.get("mine") for holder in holders)
        point["devices"].append(kept)
    return point


def _read(path: str) -> list[Point]:
    found = []
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                point = json.loads(line)
                if isinstance(point, dict):
                    found.append(point)
    return found


def _merged(points: list[Point]) -> list[Point]:
    """Each two neighbours as one."""
    pairs = [points[at : at + 2] for at in range(0, len(points), 2)]
    return [_merge(*pair) if len(pair) == 2 else pair[0] for pair in pairs]


def _merge(first: Point, second: Point) -> Point:
    """Two points as one: the mean of rates, the larger of amounts."""
    weights = (int(first.get("n", 1)), int(second.get("n", 1)))
    return {**_mixed(first, second, weights), "n": sum(weights)}


def _mixed(first: Any, second: Any, weights: tuple[int, int], key: str = "") -> Any:
    if isinstance(first, dict) and isinstance(second, dict):
        return {name: _mixed(first.get(name), value, weights, name) for name, value in second.items()}
    if isinstance(first, list) and isinstance(second, list):
        return [_mixed(*pair, weights) for pair in zip(first, second)] if len(first) == len(second) else second
    if isinstance(first, bool) or isinstance(second, bool):
        return bool(first or second)
    if not isinstance(first, (int, float)) or not isinstance(second, (int, float)):
        return first if second is None else second
    if key in ("util", "percent", "temperature", "power", "cpu"):
        return round((first * weights[0] + second * weights[1]) / sum(weights), 2)
    return second if key == "time" else max(first, second)
