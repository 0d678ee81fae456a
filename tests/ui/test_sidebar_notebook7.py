"""The sidebar in Notebook 7, where it stands on the right and opens by its command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.ui._scenes import gated
from tests.ui._sidebar import Sidebar
from tests.ui._site import Site, serve
from tests.ui.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WRONG = """
window.wrong = [];
window.addEventListener("error", event => window.wrong.push(event.message));
window.addEventListener("unhandledrejection", event => window.wrong.push(String(event.reason)));
"""
#: Notebook 7.6 throws this by itself when a page is loaded, with our extension or without.
_NOT_OURS = "Cannot read properties of undefined (reading 'schema')"


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Site]:
    with serve("notebook", browser, tmp_path_factory.mktemp("notebook"), repository) as site:
        site.prepare(WRONG)
        yield site


def test_the_panel_opens_by_its_command_and_is_live(open_page: Open, tmp_path: Path) -> None:
    page = open_page("%%lepton_train --name seven\n" + gated(tmp_path / "gate", "print('first')", ""))
    sidebar = Sidebar(page.page).open()
    page.run_all()
    sidebar.state("seven", "Running")
    page.page.screenshot(path=tmp_path / "notebook7.png")
    sidebar.stop(sidebar.row("seven"))
    sidebar.state("seven", "Stopped")
    page.finish()
    page.ran(1, count=2)
    assert [error for error in page.page.evaluate("window.wrong") if _NOT_OURS not in error] == []
