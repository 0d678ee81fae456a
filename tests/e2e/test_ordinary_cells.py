"""Ordinary training cells, unchanged, with each flag that changes how they train, on real kernels.

One kernel for each framework; each cell is compared with itself without flags.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e import ordinary_cells
from tests.e2e.test_metrics import newest, training
from tests.fakes.notebook import LiveNotebook


class Ended(NamedTuple):
    """What a cell printed at its end, and what was said besides."""

    loss: float
    accuracy: float
    said: str


class Runs:
    """Cells that go to one kernel."""

    def __init__(self, notebook: LiveNotebook, folder: Path, framework: str) -> None:
        self._notebook, self._folder, self._kernel = notebook, folder, f"--kernel {framework}"
        self.cells: dict[str, str] = getattr(ordinary_cells, framework.upper())

    def said(self, magic: str, cell: str = "") -> str:
        """All that `magic` shows."""
        verb, _, flags = magic.partition(" ")
        return self._notebook.text(f"{verb} {self._kernel} {flags}\n{cell}".strip())

    def ended(self, flags: str, cell: str) -> Ended:
        """A cell that is sent with these flags and ends well."""
        said = self.said(f"%%lepton_train {flags}", cell)
        loss, accuracy = re.findall(r"^end (\S+) (\S+)$", said, re.MULTILINE)[-1]
        return Ended(float.fromhex(loss), float(accuracy), said)

    def value(self, name: str) -> Any:
        """A variable of the notebook."""
        return ast.literal_eval(self._notebook.text(f"print(repr({name}))"))

    def metrics(self) -> Mapping[str, Any]:
        """What was seen of the newest job's training."""
        return training(newest(self._folder))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[dict[str, Runs]]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        folder = tmp_path_factory.mktemp("ordinary")
        patch.setenv("LEPTON_HOME", str(folder / "state"))
        patch.setenv("LEPTON_CONFIG", str(folder / "lepton.toml"))
        patch.setenv("PYTHONPATH", str(repository))
        notebook = LiveNotebook(folder, stack)
        notebook.patience = 240
        notebook.run(ordinary_cells.DATA)
        yield {framework: Runs(notebook, folder, framework) for framework in ("torch", "keras")}


STYLES = [(framework, name) for framework in ("torch", "keras") for name in getattr(ordinary_cells, framework.upper())]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("framework", "name"), STYLES)
def test_an_ordinary_cell_trains_with_every_flag(opened: dict[str, Runs], framework: str, name: str) -> None:
    runs = opened[framework]
    cell = runs.cells[name]
    pictures = name in ("cnn", "fit", "tape")
    plain, seen = runs.ended("", cell), runs.metrics()
    assert plain.accuracy > (0.7 if pictures else 0.9)
    assert seen["steps"] == (200 if pictures else 150)
    assert abs(seen["values"]["loss"] - plain.loss) < 0.5 * plain.loss + 0.2  # of one batch, or of an epoch so far
    again = runs.ended(f"--resume --name {name}", cell)
    assert again[:2] == plain[:2]  # there was nothing to go on with, and nothing else changed

    half = runs.ended("--precision bf16", cell)
    assert half.loss != plain.loss
    chosen = runs.ended("--precision auto --compile auto --gradients auto", cell)
    for each in (half, chosen):
        assert each.loss == pytest.approx(plain.loss, rel=0.3, abs=0.1)
        assert each.accuracy == pytest.approx(plain.accuracy, abs=0.08)
    # What is chosen, and whether so short a training is worth a probe, depends on the machine.
    why = "fp32 stays in the loop written by hand" if name == "tape" else r"(fp32|tf32|bf16|fp16)\b.*"
    assert re.search(f"^lepton: precision: {why}", chosen.said, re.MULTILINE)
    assert re.search(r"^lepton: gradients: \d+ steps were clipped", chosen.said, re.MULTILINE)

    said = runs.said("%%lepton_tune --trials 2 --space lr=log:0.001..0.01 --precision bf16 --gradients auto", cell)
    assert re.search(r"^1/2  loss .*best so far\n(  gradients: .*\n)+2/2  loss ", said, re.MULTILINE)
    assert re.search(r"^In the best trial: gradients: \d+ steps were clipped", said, re.MULTILINE)
    assert 0.001 <= runs.value("best")["lr"] <= 0.01
    runs.said("%%lepton_tune --find lr --as rate", cell)
    assert 1e-3 <= runs.value("rate")["lr"] <= 0.3
