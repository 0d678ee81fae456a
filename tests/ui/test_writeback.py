"""Outputs come home in JupyterLab: reloads, closed tabs, cut links, unsaved edits, restarts, two tabs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, expect

from tests.fakes.proxy import Proxy
from tests.ui import _homecoming
from tests.ui._homecoming import asks_nothing, in_file, record, until
from tests.ui._scenes import gated, stream
from tests.ui._site import Site, serve
from tests.ui.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class _Links:
    """The network between the browser and its server."""

    proxy: Proxy

    def to(self, port: int) -> int:
        self.proxy = Proxy("127.0.0.1", port)
        return self.proxy.port

    def sleep(self) -> None:
        """As a laptop does that is closed."""
        self.proxy.refuse()
        self.proxy.cut()

    def wake(self) -> None:
        self.proxy.accept()


@pytest.fixture(scope="module")
def link() -> Iterator[_Links]:
    links = _Links()
    yield links
    links.proxy.close()


@pytest.fixture(scope="module")
def site(browser: Browser, link: _Links, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("lab")
    with serve("lab", browser, folder, repository, via=link.to) as site:
        yield site


def test_a_page_that_is_reloaded_in_the_middle_ends_complete(open_page: Open, tmp_path: Path) -> None:
    _homecoming.a_page_that_is_reloaded_in_the_middle_ends_complete(open_page, tmp_path / "gate")


def test_a_job_that_ends_while_no_page_is_open_is_there_at_the_next_look(open_page: Open, tmp_path: Path) -> None:
    _homecoming.a_job_that_ends_while_no_page_is_open_is_there_at_the_next_look(open_page, tmp_path / "gate")


def test_scripts_in_what_comes_home_do_nothing_in_the_page(open_page: Open, tmp_path: Path) -> None:
    _homecoming.scripts_in_what_comes_home_do_nothing_in_the_page(open_page, tmp_path / "gate")


def test_scripts_in_what_comes_home_do_nothing_in_the_file(open_page: Open, tmp_path: Path) -> None:
    _homecoming.scripts_in_what_comes_home_do_nothing_in_the_file(open_page, tmp_path / "gate")


def test_a_page_that_slept_shows_what_the_server_wrote(open_page: Open, link: _Links, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = open_page("%%lepton_train\n" + gated(gate, "print('first')", "print('last')"))
    page.run_all()
    page.sees(1, "first")
    page.saved()
    link.sleep()
    gate.touch()
    until(lambda: in_file(page.path, 1) == [stream("first\nlast\n")])
    link.wake()
    page.sees(1, "last")
    page.finish()
    page.page.wait_for_timeout(1000)  # what the kernel's socket kept for this page must not come a second time
    assert page.text(1) == "first\nlast\n"
    assert page.saved()[1].outputs == [stream("first\nlast\n")]
    asks_nothing(page)


def test_unsaved_edits_stay_and_can_be_undone(open_page: Open, link: _Links, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = open_page("%%lepton_train\n" + gated(gate, "print('first')", "print('last')"), "mine = 1")
    page.run(0)
    page.finish()
    page.run(1)
    page.sees(1, "first")
    page.saved()
    link.sleep()
    page.edit(2, "mine = 2")
    gate.touch()
    until(lambda: in_file(page.path, 1) == [stream("first\nlast\n")])
    link.wake()
    page.sees(1, "last")
    assert (page.source(2), page.dirty) == ("mine = 2", True)
    for number in (1, 2):  # in the job's own cell, too
        page.cell(number).locator(".cm-content").click()
        page.page.keyboard.press("Control+z")
    page.execute("notebook:undo-cell-action")
    assert page.source(2) != "mine = 2"
    page.sees(1, "first\nlast")
    page.edit(2, "mine = 2")
    _, job, edited = page.saved()
    asks_nothing(page)
    assert (job.outputs, edited.source) == ([stream("first\nlast\n")], "mine = 2")


def test_a_save_before_the_page_has_noticed_asks_nothing(open_page: Open, tmp_path: Path) -> None:
    page = open_page("%%lepton_train\nprint('hello')", "mine = 1")
    page.run_all()
    page.sees(1, "hello")
    page.finish()
    until(lambda: "lepton" in page.saved()[1].metadata)
    page.edit(2, "mine = 2")
    notebook = nbformat.read(page.path, as_version=4)
    notebook.cells[1].outputs = [nbformat.from_dict(stream("hello, world\n"))]  # as the server does when it must
    nbformat.write(notebook, page.path)
    _, job, edited = page.saved()
    asks_nothing(page)
    assert (job.outputs, edited.source) == ([stream("hello, world\n")], "mine = 2")
    page.sees(1, "hello, world")


def test_what_somebody_else_changed_is_still_asked_about(open_page: Open) -> None:
    page = open_page("mine = 1")
    page.edit(1, "mine = 2")
    page.path.write_text(page.path.read_text().replace("mine = 1", "theirs = 1"))
    page.page.evaluate("() => { window.jupyterapp.commands.execute('docmanager:save'); }")
    dialog = page.page.locator(".jp-Dialog", has_text="File Changed")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Revert").click()
    asks_nothing(page)


def test_a_kernel_that_is_restarted_in_the_middle_loses_nothing(open_page: Open, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    slider = "import ipywidgets\ndisplay(ipywidgets.IntSlider())\nprint('last')"
    page = open_page("%%lepton_train\n" + gated(gate, "print('first')", slider))
    page.run_all()
    page.sees(1, "first")
    page.restart()
    gate.touch()
    page.sees(1, "first\nIntSlider(value=0)last")  # its model went with the kernel
    until(lambda: page.held(1)[-1] == stream("last\n"))
    first, _, last = page.saved()[1].outputs
    asks_nothing(page)
    assert (first, last) == (stream("first\n"), stream("last\n"))


def test_two_tabs_of_one_notebook_end_with_the_same_outputs(open_page: Open, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = open_page("%%lepton_train\n" + gated(gate, "print('first')", "print('last')"))
    page.run_all()
    page.sees(1, "first")
    page.saved()
    other = open_page(again=page.path)
    gate.touch()
    page.sees(1, "last")
    page.finish()
    assert page.saved()[1].outputs == [stream("first\nlast\n")]
    other.sees(1, "last")
    asks_nothing(other)
    assert other.saved()[1].outputs == [stream("first\nlast\n")]
    asks_nothing(other)


def test_a_cell_that_was_deleted_is_said(open_page: Open, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = open_page("%%lepton_train --detach\n" + gated(gate, "print('first')", "print('last')"), "")
    page.run(0)
    page.finish()
    page.run(1)
    page.finish()
    page.sees(1, "first")
    page.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1; }")
    page.execute("notebook:delete-cell")
    gate.touch()
    until(lambda: record(page).get("words") == "cell gone – open result")
    assert [cell.outputs for cell in page.saved()] == [[], []]


def test_a_renamed_notebook_gets_its_outputs(open_page: Open, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = open_page("%%lepton_train --detach\n" + gated(gate, "print('first')", "print('last')"))
    page.run_all()
    page.sees(1, "first")
    page.finish()
    page.saved()
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.rename('renamed.ipynb')")
    page.page.close()
    gate.touch()
    renamed = page.path.with_name("renamed.ipynb")
    until(lambda: in_file(renamed, 1) == [stream("first\nlast\n")])
    assert not page.path.exists()


def test_a_server_that_is_restarted_brings_home_what_ended(open_page: Open, site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = open_page("%%lepton_train\n" + gated(gate, "print('first')", "print('last')"))
    page.run_all()
    page.sees(1, "first")
    page.saved()
    site.server.kill()
    gate.touch()
    site.server.start()
    until(lambda: page.held(1) == [stream("first\nlast\n")])
    assert page.saved()[1].outputs == [stream("first\nlast\n")]
    expect(page.page.locator(".jp-Dialog", has_text="File Changed")).to_have_count(0)


def test_sync_brings_back_what_was_cleared(open_page: Open) -> None:
    page = open_page("%%lepton_train\nprint('hello')", "%lepton_sync")
    page.run(0)
    page.run(1)
    page.sees(1, "hello")
    page.finish()
    page.saved()
    until(lambda: record(page).get("saved"))  # it is home, so that nobody else brings it back
    page.reload()
    page.sees(1, "hello")
    page.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1; }")
    page.execute("notebook:clear-cell-output")
    page.sees_no(1, "hello")
    page.run(2)
    page.sees(1, "hello")
    page.sees(2, "in its cell")
    asks_nothing(page)
