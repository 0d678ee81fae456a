"""What a value is, in words: for the line that says what was sent, for what stays on the host. Either side.

None of this encodes, so it is cheap for any size; none of it raises, whatever the value's own methods do.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any, Callable, TypeVar

from .registry import find

T = TypeVar("T")

_LINES, _WIDTH = 12, 100
#: How many parts of one container are looked at, and of all together, to tell a size; the rest is taken to be alike.
_SAMPLE, _BUDGET = 1000, 20_000
_DEPTH = 50


def describe(value: Any) -> str:
    """One short text: ``float32 array (3, 4)``, ``DataFrame 1,000 × 8``, ``dict of 3``."""
    return _asked(value, lambda codec: str(codec.describe(value)), type(value).__qualname__)


def nbytes(value: Any) -> int:
    """About how many bytes `value` takes to send; what it holds twice counts once."""
    return _Estimate().of(value, 0)


def preview(value: Any) -> str:
    """A few lines of what is in `value`, at most 12 of 100 characters."""
    shown = _asked(value, lambda codec: str(codec.preview(value)), object.__repr__(value))
    lines = shown.splitlines() or [""]
    kept = [line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…" for line in lines[:_LINES]]
    return "\n".join(kept if len(lines) <= _LINES else [*kept[: _LINES - 1], "…"])


class _Estimate:
    """One sum of sizes."""

    def __init__(self) -> None:
        self._left = _BUDGET
        self._seen: set[int] = set()

    def of(self, value: Any, depth: int) -> int:
        if id(value) in self._seen or depth > _DEPTH:
            return 0
        self._left -= 1
        self._seen.add(id(value))
        size = _asked(value, lambda codec: int(codec.nbytes(value)), sys.getsizeof(value, 64))
        parts: Collection[Any] = _asked(value, lambda codec: codec.parts(value), ())
        total = 0
        for looked, part in enumerate(parts):
            if looked == _SAMPLE or self._left <= 0:
                return size + total * len(parts) // max(looked, 1)
            total += self.of(part, depth + 1)
        return size + total


def _asked(value: Any, question: Callable[[Any], T], otherwise: T) -> T:
    try:
        return question(find(value))
    except Exception:  # noqa: BLE001 - words about a value must not cost the value
        return otherwise
