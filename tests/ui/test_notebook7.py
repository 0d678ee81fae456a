"""Cells on the local target, in Notebook 7, and outputs that come home there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.ui import _homecoming, _scenes
from tests.ui._site import Site, serve
from tests.ui.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("notebook7")
    with serve("notebook", browser, folder, repository) as site:
        yield site


def test_outputs_appear_while_the_cell_runs(open_page: Open, tmp_path: Path) -> None:
    _scenes.outputs_appear_while_the_cell_runs(open_page, tmp_path / "gate")


def test_a_slider_works_both_ways(open_page: Open) -> None:
    _scenes.a_slider_works_both_ways(open_page)


def test_outputs_of_a_detached_job_come_into_its_cell(open_page: Open, tmp_path: Path) -> None:
    _scenes.outputs_of_a_detached_job_come_into_its_cell(open_page, tmp_path / "gate")


def test_a_job_that_ends_while_no_page_is_open_is_there_at_the_next_look(open_page: Open, tmp_path: Path) -> None:
    _homecoming.a_job_that_ends_while_no_page_is_open_is_there_at_the_next_look(open_page, tmp_path / "gate")
