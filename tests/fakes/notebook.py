"""A notebook with a real kernel that stays alive between cells, as a person has it open. Runs in the test process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


class LiveNotebook:
    """Cells go in one by one; each answers with its outputs as nbformat has them, within `patience` seconds."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.notebook = nbformat.v4.new_notebook()
        resources = {"metadata": {"path": str(folder)}}
        self._client = NotebookClient(self.notebook, timeout=60, kernel_name="python3", resources=resources)
        self._kernel = stack.enter_context(ExitStack())
        self._kernel.enter_context(self._client.setup_kernel())
        self.run("%load_ext lepton_jupyter")

    @property
    def patience(self) -> int:
        """Seconds that a cell may take; more for one that compiles, or imports much, on a busy machine."""
        return int(self._client.timeout)

    @patience.setter
    def patience(self, seconds: int) -> None:
        self._client.timeout = seconds

    def close(self) -> None:
        """Shut the kernel down, as Jupyter does."""
        self._kernel.close()

    def run(self, source: str) -> list[dict[str, Any]]:
        """The outputs of a cell that succeeds; CellExecutionError when it does not."""
        cell = nbformat.v4.new_code_cell(source)
        self.notebook.cells.append(cell)
        self._client.execute_cell(cell, len(self.notebook.cells) - 1)
        return list(cell.outputs)

    def text(self, source: str) -> str:
        """All that the cell shows, as plain text."""
        return shown(self.run(source))

    def failure(self, source: str) -> str:
        """What a cell shows that must fail."""
        with pytest.raises(CellExecutionError):
            self.run(source)
        return shown(self.notebook.cells[-1].outputs)

    def html(self, source: str) -> str:
        """The HTML that the cell shows."""
        return "".join(output.get("data", {}).get("text/html", "") for output in self.run(source))


def shown(outputs: list[dict[str, Any]]) -> str:
    """Outputs as a terminal would show them."""
    parts = []
    for output in outputs:
        if output["output_type"] == "error":
            parts.append("\n".join(output["traceback"]))
        else:
            parts.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return "".join(parts)


@pytest.fixture
def open_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> Iterator[Callable[[], LiveNotebook]]:
    """Opens notebooks that share one state folder and one configuration of this test's own."""
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LEPTON_CONFIG", str(tmp_path / "lepton.toml"))
    monkeypatch.setenv("PYTHONPATH", str(repository))
    with ExitStack() as stack:
        yield lambda: LiveNotebook(tmp_path, stack)


@pytest.fixture
def notebook(open_notebook: Callable[[], LiveNotebook]) -> LiveNotebook:
    return open_notebook()


@pytest.fixture(scope="module")
def shared_notebook(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[LiveNotebook]:
    """One notebook for all tests of a file that leave no trace in it."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("LEPTON_HOME", str(folder / "state"))
        patch.setenv("LEPTON_CONFIG", str(folder / "lepton.toml"))
        patch.setenv("PYTHONPATH", str(repository))
        yield LiveNotebook(folder, stack)
