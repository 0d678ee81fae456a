"""Models: made smaller and faster, packed, measured. An ordinary library; nothing here knows of jobs or hosts.

Runs in the kernel that holds the model, or in any Python. Heavy packages are imported at their first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compressing import compress
    from .compressors import Task
    from .report import CompressionReport

__all__ = ["CompressionReport", "Task", "compress"]

_WHERE = {"compress": ".compressing", "Task": ".compressors", "CompressionReport": ".report"}


def __getattr__(name: str) -> Any:
    """Imported when asked for: this package stands on the way to modules that need none of them."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name], __name__), name)
