"""Notebooks with remote cells run by papermill: parameters, saved outputs, and a failing cell that ends the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> Path:
    """A notebook whose parameters go into remote cells, with a state folder of this test's own."""
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LEPTON_CONFIG", str(tmp_path / "lepton.toml"))
    monkeypatch.setenv("PYTHONPATH", str(repository))
    cells = [
        nbformat.v4.new_code_cell("epochs = 1\nbroken = False", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("%load_ext lepton_jupyter"),
        nbformat.v4.new_code_cell(
            "%%lepton_train --name first --card\n"
            "import time\n"
            "for epoch in range(3):\n"
            "    print(f'Epoch {epoch + 1}/3 loss: {1 / (epoch + 1):.3f}', flush=True)\n"
            "    time.sleep(0.3)\n"
            "display({'text/html': '<b>shown</b>', 'text/plain': 'shown'}, raw=True)\n"
            "kept = 41"
        ),
        nbformat.v4.new_code_cell("get_ipython().run_cell_magic('lepton_train', '', f'kept + {epochs}')"),
        nbformat.v4.new_code_cell("if broken:\n    get_ipython().run_cell_magic('lepton_train', '', 'kept / 0')"),
        nbformat.v4.new_code_cell("print('the end')"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "source.ipynb")
    return tmp_path / "source.ipynb"


def execute(source: Path, **parameters: Any) -> list[Any]:
    """The code cells of the notebook that papermill saves, the injected parameters' cell among them."""
    target = source.with_name("target.ipynb")
    try:
        papermill.execute_notebook(
            source, target, parameters=parameters, cwd=source.parent, progress_bar=False, log_output=False
        )
    finally:
        notebook = nbformat.read(target, as_version=4)
        nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said(cell: Any) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def test_parameters_reach_remote_cells_and_outputs_are_saved(source: Path) -> None:
    _, injected, _, first, second, _, last = execute(source, epochs=2)
    assert "epochs = 2" in injected.source
    assert said(first) == "".join(f"Epoch {n}/3 loss: {1 / n:.3f}\n" for n in (1, 2, 3))
    card, *_, shown = first.outputs
    assert shown.data == {"text/html": "<b>shown</b>", "text/plain": "shown"}
    assert sorted(card.data) == ["text/html", "text/plain"], "a picture is left of the card"
    assert "✓ Completed: first" in card.data["text/plain"]
    assert [output.data["text/plain"] for output in second.outputs] == ["43"]
    assert second.outputs[0].execution_count == second.execution_count
    assert said(last) == "the end\n"


def test_a_failing_remote_cell_ends_the_run_with_its_own_traceback(source: Path) -> None:
    with pytest.raises(PapermillExecutionError) as caught:
        execute(source, broken=True)
    assert (caught.value.ename, caught.value.evalue) == ("ZeroDivisionError", "division by zero")
    notebook = nbformat.read(source.with_name("target.ipynb"), as_version=4)
    errors = [output for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "error"]
    assert [error.ename for error in errors] == ["ZeroDivisionError"]
    traceback = "\n".join(errors[0].traceback)
    assert "kept" in traceback
    assert "run_cell_magic" not in traceback, "the way it came here is no part of it"
    assert said(notebook.cells[-1]) == ""
