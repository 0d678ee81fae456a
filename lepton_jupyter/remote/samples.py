"""What a host says of itself, made safe to hand on: every key there, of its type, bounded. Nothing else comes through.

Runs in the notebook's kernel, the server and the command line. A host is not trusted to keep to the format: a browser
and a store rely on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_MOST_DEVICES, _MOST_PROCESSES, _MOST_QUEUE, _MOST_POINTS, _LONGEST = 64, 64, 200, 2000, 200
_RATES = ("util", "memory_used", "memory_total", "temperature", "power")

Json = dict[str, Any]


def clean_sample(given: Any) -> Json:
    """A sample of a host: time, host, cpu, memory, disk, load, devices, kernel, queue, latency."""
    sample = _table(given)
    cpu, memory, disk = _table(sample.get("cpu")), _table(sample.get("memory")), _table(sample.get("disk"))
    return {
        "time": _number(sample.get("time")) or 0.0,
        "host": _text(sample.get("host")),
        "cpu": {"count": _whole(cpu.get("count")), "percent": _number(cpu.get("percent"))},
        "memory": {key: _whole(memory.get(key)) for key in ("used", "total")},
        "disk": {"path": _text(disk.get("path")), **{key: _whole(disk.get(key)) for key in ("used", "total")}},
        "load": _number(sample.get("load")),
        "devices": [_device(device) for device in _rows(sample.get("devices"), _MOST_DEVICES)],
        "kernel": _kernel(sample.get("kernel")),
        "queue": [
            {key: _text(row.get(key)) for key in ("job", "name", "state")}
            for row in _rows(sample.get("queue"), _MOST_QUEUE)
        ],
        "latency": _number(sample.get("latency")),
    }


def clean_usage(given: Any) -> Json:
    """How well a job used its host: gpu, cpu, memory, gpu_memory, words. Nothing when nothing is known."""
    usage = _table(given)
    if not usage:
        return {}
    return {
        "gpu": _number(usage.get("gpu")),
        "cpu": _number(usage.get("cpu")),
        "memory": _whole(usage.get("memory")),
        "gpu_memory": _whole(usage.get("gpu_memory")),
        "words": _text(usage.get("words")),
    }


def clean_history(given: Any) -> Json:
    """How a job used its host, point by point: samples (without queue and processes) and words."""
    answer = _table(given)
    samples = [clean_sample(row) for row in _rows(answer.get("samples"), _MOST_POINTS)]
    kept = ("time", "cpu", "memory", "devices", "kernel")
    return {"samples": [{key: row[key] for key in kept} for row in samples], "words": _text(answer.get("words"))}


def _device(row: Mapping[str, Any]) -> Json:
    return {
        "kind": "tpu" if row.get("kind") == "tpu" else "gpu",
        "index": _whole(row.get("index")) or 0,
        "name": _text(row.get("name")),
        **{key: _number(row.get(key)) for key in _RATES},
        "processes": [
            {
                "pid": _whole(holder.get("pid")) or 0,
                **{key: _text(holder.get(key)) for key in ("user", "name", "job")},
                "memory": _whole(holder.get("memory")),
            }
            for holder in _rows(row.get("processes"), _MOST_PROCESSES)
        ],
    }


def _kernel(given: Any) -> Json | None:
    if not isinstance(given, dict):
        return None
    whole = {key: _whole(given.get(key)) for key in ("memory", "gpu_memory", "processes")}
    return {"cpu": _number(given.get("cpu")), **whole}


def _table(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _rows(value: Any, most: int) -> list[Json]:
    return [row for row in value[:most] if isinstance(row, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < 1e18 and math.isfinite(value) else None


def _whole(value: Any) -> int | None:
    found = _number(value)
    return None if found is None else int(found)
