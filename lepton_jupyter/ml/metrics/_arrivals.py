"""Calls us when a module has been imported, without importing it. In the kernel's process."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def when_imported(name: str, call: Callable[[], None]) -> Callable[[], None]:
    """Call `call` when the module `name` has been imported; now, if it is there. What it raises is dropped.

    Gives what takes that back.
    """
    if name in sys.modules:
        _attempt(name, call)
        return lambda: None
    arrival = _Arrival(name, call)
    sys.meta_path.insert(0, arrival)
    return arrival.give_up


class _Arrival(MetaPathFinder):
    def __init__(self, name: str, call: Callable[[], None]) -> None:
        self._name, self._call = name, call
        self._searching = False

    def give_up(self) -> None:
        """Wait no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self._name or self._searching:
            return None
        self._searching = True  # the search below comes by here again
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        execute = loader.exec_module

        def then_call(module: ModuleType) -> None:
            execute(module)  # what it raises, the user sees; the next import comes by here again
            if self in sys.meta_path:
                self.give_up()
                _attempt(self._name, self._call)

        loader.exec_module = then_call
        return spec


def _attempt(name: str, call: Callable[[], None]) -> None:
    """An import must not fail because of us, whatever a framework's version has changed."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - see above; the cell runs, only less of its training is seen
        sys.stderr.write(f"lepton: {name} is not followed: {type(error).__name__}: {error}\n")
