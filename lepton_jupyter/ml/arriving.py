"""Puts a framework's own part around a cell: at once if the framework is there, else when the cell imports it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from .metrics._arrivals import when_imported


def entered(stack: ExitStack, framework: str, part: str, options: tuple[Any, ...], tell: Callable[[str], None]) -> None:
    """Enter `around(*options)` of the module `part` on `stack` as soon as `framework` is imported.

    After `stack` was closed nothing happens any more. An import within the cell does not fail because of us: what
    goes wrong is told, and the cell runs as if it had not asked.
    """

    def enter() -> None:
        try:
            stack.enter_context(importlib.import_module(part).around(*options))
        except Exception as error:  # noqa: BLE001 - another version of the framework, see above
            tell(f"{framework} runs as it is, this version is not known: {type(error).__name__}: {error}")

    stack.callback(when_imported(framework, enter))
