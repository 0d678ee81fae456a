"""JSON as browsers take it. Runs in the Jupyter server, mostly in its worker threads.

Python writes ``NaN`` where JSON has no word for it, and a loss that is NaN is an everyday thing: it becomes null.
The text is ASCII, so half of a surrogate pair in a file name travels as an escape instead of breaking the socket.
"""

from __future__ import annotations

import json
import math
from typing import Any


def encode(value: Any) -> str:
    """`value` as JSON in ASCII; what is no finite number is null."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
