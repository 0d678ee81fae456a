"""What plug-ins have to do, as suites that their authors run. Runs in the author's tests, under pytest."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compressors import CompressorCase, CompressorContract
    from .targets import PATIENCE, Followed, TargetContract

__all__ = ["PATIENCE", "CompressorCase", "CompressorContract", "Followed", "TargetContract"]

_WHERE = {
    "CompressorCase": "compressors",
    "CompressorContract": "compressors",
    "Followed": "targets",
    "PATIENCE": "targets",
    "TargetContract": "targets",
}


def __getattr__(name: str) -> Any:
    """Imported when asked for: who tests a target needs no numpy."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
