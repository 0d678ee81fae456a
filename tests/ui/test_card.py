"""A job's card in JupyterLab: it lives while its cell runs, its buttons work meanwhile, and a picture of it stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.ui._page import NotebookPage
from tests.ui._scenes import gated, stream
from tests.ui._site import Site, serve
from tests.ui.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

VIEW = "application/vnd.jupyter.widget-view+json"
EPOCHS = "import time\nfor epoch in range({}):\n    print(f'Epoch {{epoch + 1}}/{} loss: {{3 / (epoch + 3):.3f}}')\n"
_SUBSHELLS = "use => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.commsOverSubshells = use; }"


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "lepton.toml").write_text("[targets.local]\nkind = 'local'\nprice_per_hour = 360\n")
    with serve("lab", browser, folder, repository) as site:
        yield site


def live(page: NotebookPage, number: int = 1) -> Locator:
    """The widgets of a cell's card."""
    return page.cell(number).locator(".lepton-card-live")


def picture(page: NotebookPage, number: int = 1) -> Locator:
    """What is left of a cell's card."""
    return page.cell(number).locator(".jp-OutputArea-output .lepton-card")


@pytest.mark.parametrize("subshells", ["perCommTarget", "disabled"])
def test_a_card_lives_and_its_stop_button_interrupts(open_page: Open, tmp_path: Path, subshells: str) -> None:
    gate = tmp_path / "gate"
    code = EPOCHS.format(4, 8) + "    time.sleep(0.3)\n"
    page = open_page(f"%%lepton_train --card --name '<b>first</b> try'\n{code}kept = 5\n{gated(gate, '', '')}", "")
    page.page.evaluate(_SUBSHELLS, subshells)
    page.run_all()
    card = live(page)
    expect(card).to_contain_text("Running")
    expect(card).to_contain_text("<b>first</b> try")
    expect(card).to_contain_text("4/8 epoch")
    expect(card.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
    expect(card.get_by_role("img", name=re.compile("^loss 0.5, between 0.5 and 1$"))).to_be_visible()
    expect(card).to_contain_text(re.compile(r"CPU \d+ %"))
    expect(card).to_contain_text(re.compile(r"cost so far \d+\.\d\d"))
    expect(card).to_contain_text(re.compile(r"running for (?:[3-9]|\d\d)"))  # it goes on while the cell says nothing
    page.runs(1)
    page.page.screenshot(path=tmp_path / "live.png")
    card.get_by_role("button", name="Stop").click()
    page.sees(1, "KeyboardInterrupt")
    page.finish()
    expect(card).to_have_count(0)
    expect(picture(page)).to_contain_text("Failed")
    expect(picture(page)).to_contain_text("<b>first</b> try")
    expect(picture(page).locator("polyline")).to_be_visible()
    expect(page.cell(1).locator(".jp-OutputArea-output").first.locator(".lepton-card")).to_be_visible()
    page.page.screenshot(path=tmp_path / "ended.png")
    page.run(2, "%%lepton_train\nprint(kept)")
    page.sees(2, "5")
    page.finish()
    saved = page.saved()[1].outputs[0]
    assert sorted(saved.data) == ["text/html", "text/plain"]
    assert saved.metadata.lepton.card in saved.data["text/plain"]


@pytest.mark.parametrize("subshells", ["perCommTarget", "disabled"])
def test_detach_ends_the_cell_while_card_and_outputs_go_on(open_page: Open, tmp_path: Path, subshells: str) -> None:
    gate = tmp_path / "gate"
    page = open_page("%%lepton_train --card\n" + gated(gate, "print('first')", "print('last')"), "print(6 * 7)")
    page.page.evaluate(_SUBSHELLS, subshells)
    page.run_all()
    page.sees(1, "first")
    page.runs(1)
    live(page).get_by_role("button", name="Detach").click()
    page.ran(1, count=2)
    page.finish()
    page.sees(2, "42")
    expect(live(page)).to_contain_text("Running")
    expect(live(page).get_by_role("button", name="Detach")).not_to_be_visible()
    gate.touch()
    page.sees(1, "last")
    expect(picture(page)).to_contain_text("Completed")
    expect(live(page)).to_have_count(0)
    outputs = page.saved()[1].outputs
    assert VIEW not in outputs[0].data
    assert stream("first\nlast\n") in [{**output, "text": output.get("text")} for output in outputs] or [
        output.text for output in outputs[1:] if output.name == "stdout"
    ] == ["first\n", "last\n"]


def test_a_card_of_a_job_in_another_cell_stops_it(open_page: Open, tmp_path: Path) -> None:
    page = open_page("%%lepton_train --detach\n" + gated(tmp_path / "gate", "print('first')", ""), "")
    page.run_all()
    page.sees(1, "first")
    found = re.search("lepton: job ([a-z0-9]+) ", page.text(1))
    assert found is not None
    page.run(2, f"%lepton_card {found[1]}")
    page.finish()
    expect(live(page, 2)).to_contain_text("Running")
    expect(live(page, 2).get_by_role("button")).to_have_count(1)
    live(page, 2).get_by_role("button", name="Stop").click()
    page.sees(1, "KeyboardInterrupt")
    expect(picture(page, 2)).to_contain_text("Failed")


def test_a_card_whose_kernel_was_restarted_ends_as_a_picture(open_page: Open, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = open_page("%%lepton_train --card --name orphan\n" + gated(gate, "print('first')", "print('last')"))
    page.run_all()
    page.sees(1, "first")
    expect(live(page)).to_contain_text("Running")
    page.restart()
    gate.touch()
    page.sees(1, "last")
    expect(picture(page)).to_contain_text("Completed")
    expect(picture(page)).to_contain_text("orphan")
    expect(page.outputs(1)).to_have_count(2)
    assert sorted(page.saved()[1].outputs[0].data) == ["text/html", "text/plain"]


def test_a_plot_that_is_redrawn_leaves_the_card_above_it(open_page: Open, tmp_path: Path) -> None:
    loop = (
        "from IPython.display import HTML, clear_output, display\n"
        "for n in range(30):\n    clear_output(wait=True)\n    display(HTML(f'<i class=plot>plot {n}</i>'))\n"
        "    time.sleep(.02)"
    )
    page = open_page("%%lepton_train --card\nimport time\n" + gated(tmp_path / "gate", loop, "print('last')"))
    page.run_all()
    page.sees(1, "plot 29")
    expect(page.outputs(1)).to_have_count(2)
    expect(page.outputs(1).first.locator(".lepton-card-live")).to_contain_text("Running")
    expect(page.outputs(1).last.locator(".plot")).to_have_text("plot 29")
    live(page).get_by_role("button", name="Detach").click()
    page.finish()
    (tmp_path / "gate").touch()
    expect(picture(page)).to_contain_text("Completed")


def test_what_a_job_is_called_does_nothing_in_the_page(open_page: Open) -> None:
    name = "</div><img src=x onerror='window.broken = true'><script>window.broken = true</script>"
    page = open_page(
        f'%%lepton_train --card --name "{name}"\nprint("loss=<img>: 3", flush=True)\nraise ValueError("""{name}""")'
    )
    page.run_all()
    page.finish()
    expect(picture(page)).to_contain_text("<script>window.broken = true</script>")
    expect(picture(page).locator("img, script")).to_have_count(0)
    assert page.page.evaluate("window.broken === undefined")


def test_a_page_read_again_without_its_kernel_shows_the_picture(open_page: Open) -> None:
    page = open_page("%%lepton_train --card --name again\n" + EPOCHS.format(3, 3) + "    time.sleep(0.3)")
    page.run_all()
    page.finish()
    expect(picture(page)).to_contain_text("Completed")
    page.saved()
    page.page.reload()
    expect(picture(page)).to_contain_text("Completed")
    expect(picture(page)).to_contain_text("3/3 epoch")
    expect(picture(page).locator("polyline")).to_be_visible()
