"""Outputs come home into notebooks that are real-time-collaboration documents, by the two stacks that offer them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.ui import _homecoming
from tests.ui._homecoming import asks_nothing, in_file, until
from tests.ui._scenes import gated, stream
from tests.ui._site import Site, serve
from tests.ui._stacks import STACKS, environment
from tests.ui.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=sorted(STACKS))
def site(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> Iterator[Site]:
    python, environ = environment(request.param, repository)
    folder = tmp_path_factory.mktemp(request.param)
    with serve("lab", browser, folder, repository, python=python, environ=dict(environ)) as site:
        yield site


def test_a_page_that_is_reloaded_in_the_middle_ends_complete(open_page: Open, tmp_path: Path) -> None:
    _homecoming.a_page_that_is_reloaded_in_the_middle_ends_complete(open_page, tmp_path / "gate")


def test_a_job_that_ends_while_no_page_is_open_is_there_at_the_next_look(
    request: pytest.FixtureRequest, open_page: Open, tmp_path: Path
) -> None:
    runs_cells = "documents" in request.node.name  # such a server trusts none of the cells that it ran, ours or not
    _homecoming.a_job_that_ends_while_no_page_is_open_is_there_at_the_next_look(
        open_page, tmp_path / "gate", trusted=not runs_cells
    )


def test_scripts_in_what_comes_home_do_nothing(open_page: Open, tmp_path: Path) -> None:
    _homecoming.scripts_in_what_comes_home_do_nothing_in_the_page(open_page, tmp_path / "gate")


def test_a_cell_that_gets_its_outputs_from_its_kernel_has_them_once(open_page: Open, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = open_page("%%lepton_train\n" + gated(gate, "print('first')\ndisplay(1)", "print('last')"))
    page.run_all()
    page.sees(1, "first")
    other = open_page(again=page.path)
    other.sees(1, "first")
    gate.touch()
    page.sees(1, "last")
    page.finish()
    other.sees(1, "last")
    shown = {"output_type": "display_data", "data": {"text/plain": "1"}, "metadata": {}}
    whole = [stream("first\n"), shown, stream("last\n")]
    until(lambda: in_file(page.path, 1) == whole)
    page.page.wait_for_timeout(3000)  # the server looks a second time
    assert page.held(1) == whole
    assert other.held(1) == whole
    asks_nothing(page)
    asks_nothing(other)
