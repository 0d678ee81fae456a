"""Cells on a host behind SSH, in JupyterLab: what the person before it sees, and what the saved notebook holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.fakes.proxy import Proxy
from tests.fakes.sshd import Sshd
from tests.faults._road import far, write_config
from tests.ui import _scenes
from tests.ui._scenes import gated, stream
from tests.ui._site import Site, serve
from tests.ui.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def link(shared_sshd: Sshd) -> Iterator[Proxy]:
    """The network between the notebooks' kernels and the host."""
    proxy = Proxy(shared_sshd.address, shared_sshd.port)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def site(
    browser: Browser, link: Proxy, shared_sshd: Sshd, tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("lab")
    write_config(folder / "lepton.toml", {"far": far(shared_sshd, folder / "there", port=link.port)})
    config = folder / "lepton.toml"
    config.write_text('default = "far"\n' + config.read_text())
    with serve("lab", browser, folder, repository) as site:
        yield site


def test_outputs_appear_while_the_cell_runs(open_page: Open, tmp_path: Path) -> None:
    _scenes.outputs_appear_while_the_cell_runs(open_page, tmp_path / "gate")


def test_a_slider_works_both_ways(open_page: Open) -> None:
    _scenes.a_slider_works_both_ways(open_page)


def test_outputs_of_a_detached_job_come_into_its_cell(open_page: Open, tmp_path: Path) -> None:
    _scenes.outputs_of_a_detached_job_come_into_its_cell(open_page, tmp_path / "gate")


def test_a_plot_and_a_progress_bar_show(open_page: Open) -> None:
    page = open_page(
        "%%lepton_train\nimport matplotlib.pyplot as plt\n_ = plt.plot([1, 3, 2])",
        "%%lepton_train\nfrom tqdm.notebook import tqdm\nfor step in tqdm(range(5)):\n    pass",
    )
    page.run_all()
    page.finish()
    expect(page.outputs(1)).to_have_count(1)
    picture = page.outputs(1).locator("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    page.sees(2, "5/5")
    expect(page.cell(2).locator(".progress-bar-success, .jupyter-widgets progress, .widget-progress")).to_be_visible()
    _, plot, bar = page.saved()
    assert [sorted(output.data) for output in plot.outputs] == [["image/png", "text/plain"]]
    assert ["application/vnd.jupyter.widget-view+json" in output.data for output in bar.outputs] == [True]


def test_run_all_stops_at_a_failing_cell_whose_traceback_shows_once(open_page: Open) -> None:
    page = open_page("%%lepton_train\ndef broken():\n    return 1 / 0\nbroken()", "print('never')")
    page.run_all()
    page.finish()
    page.ran(1, count=2)
    expect(page.outputs(1)).to_have_count(1)
    page.sees(1, "ZeroDivisionError: division by zero")
    text = page.text(1)
    assert text.count("Traceback (most recent call last)") == 1
    assert text.count("ZeroDivisionError: division by zero") == 1
    assert "return 1 / 0" in text
    assert "lepton_jupyter" not in text
    _, failed, never = page.saved()
    (output,) = failed.outputs
    assert (output.output_type, output.ename, output.evalue) == ("error", "ZeroDivisionError", "division by zero")
    assert (never.execution_count, never.outputs) == (None, [])


def test_the_stop_button_interrupts_the_remote_cell(open_page: Open) -> None:
    page = open_page(
        "%%lepton_train\nimport time\nkept = 'still here'\nprint('asleep')\ntime.sleep(600)\nprint('never')", ""
    )
    page.run_all()
    page.sees(1, "asleep")
    page.press("notebook:interrupt-kernel")
    page.sees(1, "KeyboardInterrupt")
    page.finish()
    page.ran(1, count=2)
    page.run(2, "%%lepton_train\nprint(kept)")
    page.sees(2, "still here")
    page.finish()
    _, stopped, after = page.saved()
    asleep, error = stopped.outputs
    assert asleep == stream("asleep\n")
    assert (error.output_type, error.ename) == ("error", "KeyboardInterrupt")
    assert after.outputs == [stream("still here\n")]


def test_questions_are_answered_in_the_page(open_page: Open) -> None:
    page = open_page(
        "%%lepton_train\nfrom getpass import getpass\n"
        "name = input('Who? ')\nsecret = getpass('Key? ')\nprint(name.upper(), len(secret))"
    )
    page.run_all()
    field = page.page.locator(".jp-Stdin-input").last  # an answered one goes when the next output comes
    page.sees(1, "Who?")
    field.fill("ada")
    field.press("Enter")
    page.sees(1, "Key?")
    expect(field).to_have_attribute("type", "password")
    field.fill("open sesame")
    field.press("Enter")
    page.sees(1, "ADA 11")
    page.finish()
    expect(field).to_have_count(0)
    assert stream("ADA 11\n") in page.saved()[1].outputs
    assert "sesame" not in page.path.read_text()


def test_a_cut_link_is_said_in_a_line_that_goes_away(open_page: Open, link: Proxy, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    lines = "for n in range({}, {}):\n    print(f'line {{n:03}}')\n"
    before = lines.format(0, 40) + "display({'text/plain': 'in between'}, raw=True)"
    page = open_page("%%lepton_train\n" + gated(gate, before, lines.format(40, 80)))
    page.run_all()
    page.sees(1, "in between")
    link.refuse()
    try:
        link.cut()
        page.sees(1, "no connection, trying again")
        gate.touch()  # the rest is printed while nobody listens
    finally:
        link.accept()
    page.sees(1, "line 079")
    page.sees_no(1, "no connection")
    page.finish()
    page.ran(1, count=2)
    numbered = [f"line {n:03}\n" for n in range(80)]
    shown = {"output_type": "display_data", "data": {"text/plain": "in between"}, "metadata": {}}
    assert page.saved()[1].outputs == [stream("".join(numbered[:40])), shown, stream("".join(numbered[40:]))]


def test_a_job_is_shown_again_after_the_kernel_was_restarted(open_page: Open, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = open_page("%%lepton_train --detach\n" + gated(gate, "print('first')\ndisplay(2)", "print('last')"), "")
    page.run_all()
    page.sees(1, "first")
    found = re.search("lepton: job ([a-z0-9]+) ", page.text(1))
    assert found is not None
    page.restart()
    page.run(2, f"%load_ext lepton_jupyter\n%lepton_attach {found[1]}")
    page.sees(2, "first")
    gate.touch()
    page.sees(2, "last")
    page.finish()
    page.ran(2, count=1)
    shown = {"output_type": "display_data", "data": {"text/plain": "2"}, "metadata": {}}
    assert page.saved()[2].outputs == [stream("first\n"), shown, stream("last\n")]


def test_the_table_of_jobs_shows_hostile_titles_as_text(open_page: Open) -> None:
    titles = ["<img src=x onerror='window.broken = true'>", "<script>window.broken = true</script>", "& <b>bold</b> ü"]
    page = open_page(*(f'%%lepton_train --name "{title}"\nprint("done")' for title in titles), "%lepton_jobs")
    page.run_all()
    page.finish()
    table = page.cell(4).locator("table.lepton-table")
    expect(table).to_be_visible()
    for title in titles:
        row = table.locator("tr", has_text=title)
        expect(row).to_have_count(1)
        assert title in row.locator("td").all_text_contents()
        assert "COMPLETED" in row.locator("td").all_text_contents()
    expect(page.outputs(4).locator("img, script, b")).to_have_count(0)
    assert page.page.evaluate("window.broken === undefined")
