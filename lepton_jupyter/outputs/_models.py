"""The compressed models that a job showed, as its host tells it; nothing of it is taken on trust.

Runs in the notebook's kernel, the server and the command line. What `%lepton_compress` shows has the report as JSON
(`kernel.compressing`), with a part ``summary``; the list of models needs no more, and the store keeps it with the job.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..wire import from_json
from .words import visible

#: As it stands in a message, to tell at a glance whether it is there.
MIME = "application/vnd.lepton.compression+json"
_MARK = MIME.encode()
#: Bytes of a message that is read, models of one job, files and steps of one model, characters of a text.
_HUGE, _MODELS, _MOST, _LONGEST = 8 << 20, 20, 20, 120


class Models:
    """What the displays of one job tell."""

    def __init__(self) -> None:
        self._models: dict[str, dict[str, Any]] = {}

    def take(self, body: bytes) -> None:
        """The content of one ``display_data`` message."""
        if _MARK not in body or len(body) > _HUGE:
            return
        try:
            summary = from_json(body)["data"][MIME]["summary"]
            found = _model(summary)
        except (ValueError, TypeError, AttributeError, KeyError):
            return  # a message that follows no rule shows nothing
        if found["name"] in self._models or len(self._models) < _MODELS:
            self._models[found["name"]] = found

    def telemetry(self) -> dict[str, Any]:
        """The key ``models`` of a job's telemetry, or nothing."""
        return {"models": list(self._models.values())} if self._models else {}


def _model(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": _text(summary["name"]),
        "kind": _text(summary["kind"]),
        "judged": _text(summary["judged"]),
        "steps": [_text(step) for step in summary["steps"][:_MOST]],
        **{side: _figures(summary[side]) for side in ("before", "after")},
        "files": [{"name": _text(file["name"]), "size": _number(file["size"])} for file in summary["files"][:_MOST]],
    }


def _figures(side: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: _number(side.get(name)) for name in ("bytes", "zipped", "memory", "metric", "ms")}


def _text(value: Any) -> str:
    return visible(str(value))[:_LONGEST]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value
