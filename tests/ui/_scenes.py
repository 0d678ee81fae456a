"""What must look the same in every application that shows notebooks in a browser. Each scene gets an `open_page`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.ui.conftest import Open

SLIDER = """%%lepton_train
import ipywidgets
slider, label = ipywidgets.IntSlider(), ipywidgets.Label("still")
slider.observe(lambda change: setattr(label, "value", f"moved to {change['new']}"), "value")
display(slider, label)
"""


def gated(gate: Path, first: str, last: str) -> str:
    """Code that runs `first`, waits until the file `gate` is there, and runs `last`."""
    return f"{first}\nimport os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.02)\n{last}\n"


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    """A stream output as nbformat has it."""
    return {"output_type": "stream", "name": name, "text": text}


def outputs_appear_while_the_cell_runs(open_page: Open, gate: Path) -> None:
    page = open_page("%%lepton_train\n" + gated(gate, "print('first')", "print('last')"))
    page.run_all()
    page.sees(1, "first")
    page.runs(1)
    expect(page.outputs(1)).to_have_text(["first\n"])
    gate.touch()
    page.sees(1, "last")
    page.ran(1, count=2)
    page.finish()
    assert page.saved()[1].outputs == [stream("first\nlast\n")]


def a_slider_works_both_ways(open_page: Open) -> None:
    page = open_page(SLIDER, "")
    page.run_all()
    page.finish()
    slider, label, number = (page.cell(1).locator(f".widget-{part}").last for part in ("slider", "label", "readout"))
    expect(label).to_have_text("still")
    slider.locator(".noUi-base").click()  # in the middle, as Notebook 7 lets no slider have arrow keys
    expect(label).to_have_text(re.compile("moved to [45]."))  # said by the remote kernel
    moved_to = number.inner_text()
    expect(label).to_have_text(f"moved to {moved_to}")
    page.run(2, "%%lepton_train\nprint('it was', slider.value)\nslider.value = 7")
    page.sees(2, f"it was {moved_to}")
    expect(label).to_have_text("moved to 7")
    expect(number).to_have_text("7")
    expect(slider.locator(".noUi-handle")).to_have_attribute("aria-valuenow", "7.0")
    page.finish()
    saved = page.saved()
    assert ["application/vnd.jupyter.widget-view+json" in output.data for output in saved[1].outputs] == [True, True]
    assert saved[2].outputs == [stream(f"it was {moved_to}\n")]


def outputs_of_a_detached_job_come_into_its_cell(open_page: Open, gate: Path) -> None:
    page = open_page("%%lepton_train --detach\n" + gated(gate, "print('first')", "print('last')"), "print(6 * 7)")
    page.run_all()
    page.finish()
    page.ran(1, count=2)
    page.sees(2, "42")
    page.sees(1, "first")
    assert "last" not in page.text(1)
    gate.touch()
    page.sees(1, "last")
    _, detached, later = page.saved()
    (output,) = detached.outputs
    said, first, last = output.text.splitlines()
    assert said.startswith("lepton: job ")
    assert (first, last) == ("first", "last")
    assert later.outputs == [stream("42\n")]
