"""`lepton demo` short of its notebook: what the person at the terminal sees, and what is left behind."""

from __future__ import annotations

import io
import os
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lepton_jupyter import demo
from lepton_jupyter.errors import MissingDependency


class Terminal(io.StringIO):
    """A file that says it is a terminal, and what its last line shows in the end."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        return [line.rpartition("\r\x1b[K")[2] for line in self.getvalue().rstrip("\n").split("\n")]


def tell(file: io.StringIO) -> None:
    """One cell that prints a progress bar and two lines."""
    progress = demo.Progress(file)
    progress.begin(2, 5, "%%lepton_train --on local\nprint(1)")
    progress.printed("loss 0.")
    progress.printed("5\n 10%|#   |\r\x1b[32m 90%|### |\x1b[0m\r")
    progress.printed("100%|####|\nend\n")
    progress.end("ok")


def test_progress_into_a_log_is_every_line_once() -> None:
    log = io.StringIO()
    tell(log)
    heading, *lines, took = log.getvalue().splitlines()
    assert heading == "[2/5] %%lepton_train --on local"
    assert [line.strip() for line in lines] == ["loss 0.5", "100%|####|", "end"]
    assert took.startswith("      (done, ")


def test_progress_on_a_terminal_is_one_line_that_lives() -> None:
    terminal = Terminal()
    tell(terminal)
    (last,) = terminal.screen
    assert last.startswith("[2/5] %%lepton_train --on local  (done, ")
    for shown in ("│ loss 0.", "│  90%|### |", "│ end"):
        assert shown in terminal.getvalue()
    assert "\x1b[32m" not in terminal.getvalue()


def test_results_are_the_lines_that_state_an_accuracy() -> None:
    output = new_output("stream", name="stdout", text="epoch 1 accuracy 0.5\nKeras final accuracy: 98.2%\n")
    notebook = new_notebook(cells=[new_code_cell("1", outputs=[output, new_output("display_data", {"a/b": "c"})])])
    assert demo.results(notebook) == ["Keras final accuracy: 98.2%"]


def test_a_failing_cell_is_told_and_the_state_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTON_TARGET", "elsewhere")
    told = io.StringIO()
    source = "import os; print(os.environ['LEPTON_HOME'], 'LEPTON_TARGET' in os.environ); 1 / 0"
    failure = demo.run(new_notebook(cells=[new_code_cell(source), new_code_cell("2")]), demo.Progress(told), tmp_path)
    assert "ZeroDivisionError: division by zero" in failure
    heading, printed, took = told.getvalue().splitlines()
    folder, target_was_set = printed.split()
    assert heading.startswith("[1/2]")
    assert "(FAILED, " in took
    assert folder != os.environ["LEPTON_HOME"]
    assert not Path(folder).exists()
    assert target_was_set == "False"
    assert os.environ["LEPTON_TARGET"] == "elsewhere"


def test_no_kernel_of_the_demo_lives_on(tmp_path: Path) -> None:
    cells = [
        new_code_cell("%load_ext lepton_jupyter"),
        new_code_cell("%%lepton_train --on local\nimport os\nprint(os.getpid())"),
    ]
    notebook = new_notebook(cells=cells)
    assert demo.run(notebook, demo.Progress(io.StringIO()), tmp_path) == ""
    (output,) = notebook.cells[1].outputs
    assert int(output.text) != os.getpid()
    try:
        assert psutil.Process(int(output.text)).status() == psutil.STATUS_ZOMBIE  # dead, and not yet buried by init
    except psutil.NoSuchProcess:
        pass


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(demo.NEEDED, "no_such_framework", "torch")
    with pytest.raises(MissingDependency, match="no_such_framework") as caught:
        demo.main([])
    assert caught.value.hint == 'Install what is missing: pip install "lepton-jupyter[demo,torch]"'


def test_the_quickstart_is_found_and_clean() -> None:
    notebook = nbformat.read(demo.find_notebook(), as_version=4)
    assert len([cell for cell in notebook.cells if cell.source.startswith("%%lepton_train --on local")]) == 2
