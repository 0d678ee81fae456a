"""A notebook without a kernel: IPython's shell, and a namespace that stands for the host's."""

from __future__ import annotations

import atexit
import builtins
import linecache
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class Cells:
    """Runs cells as a notebook does; `host` is the namespace that things are restored into."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self.namespace: dict[str, Any] = shell.user_ns
        self.namespace["get_ipython"] = lambda: shell
        self.host: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}

    def run(self, code: str) -> None:
        self._shell.run_cell(code, store_history=True).raise_error()


@pytest.fixture(scope="session")
def shell() -> Iterator[InteractiveShell]:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    made = InteractiveShell(config=config)
    yield made
    made.atexit_operations()
    atexit.unregister(made.atexit_operations)


@pytest.fixture
def cells(shell: InteractiveShell) -> Iterator[Cells]:
    before = {**linecache.cache}
    names = {**shell.user_ns}
    yield Cells(shell)
    shell.user_ns.clear()
    shell.user_ns.update(names)
    shell.execution_count = 1
    shell.compile.reset_compiler_flags()
    shell.compile._filename_map.clear()
    linecache.cache.clear()
    linecache.cache.update(before)
