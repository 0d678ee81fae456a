"""The sidebar without a mouse: every step by keys, and always to be seen where one is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui._homecoming import until
from tests.ui._scenes import gated
from tests.ui._sidebar import Sidebar
from tests.ui._site import Site, serve
from tests.ui.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: Whether what has the focus shows it, by a line around it or around what is chosen in it.
SEEN = """() => {
    const drawn = node => {
        const { boxShadow, outlineStyle, outlineWidth } = getComputedStyle(node);
        return (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
    };
    const at = document.activeElement;
    const chosen = document.getElementById(at.getAttribute("aria-activedescendant"));
    return at.matches(":focus-visible") && (drawn(at) || (chosen !== null && drawn(chosen)));
}"""
NAME = "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Site]:
    with serve("lab", browser, tmp_path_factory.mktemp("lab"), repository) as site:
        yield site


def at(page: Page) -> str:
    """What has the focus, by its name."""
    return str(page.evaluate(NAME))


def tab_to(page: Page, name: str, most: int = 40) -> None:
    """Press Tab until what is called `name` has the focus."""
    for _ in range(most):
        if at(page) == name:
            break
        page.keyboard.press("Tab")
    assert at(page) == name
    assert page.evaluate(SEEN), f"nothing shows that {name} has the focus"


def focus_comes_to(page: Page, place: str) -> None:
    """Wait until something in `place` has the focus: what is typed before goes elsewhere."""
    until(lambda: page.evaluate("place => document.activeElement?.closest(place) != null", place))


def test_every_step_can_be_done_by_keys(open_page: Open, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = open_page(
        "%%lepton_train --detach --name older\n" + gated(gate, "print('needle in the hay')", ""),
        "%%lepton_train --detach --kernel second --name newer\n" + gated(gate, "print('first')", ""),
    )
    page.run_all()
    page.finish()
    keys, sidebar = page.page.keyboard, Sidebar(page.page)
    view = page.page.locator(".lp-View:visible")

    keys.press("Control+Alt+l")
    expect(sidebar.node).to_be_visible()
    sidebar.state("older", "Running")
    sidebar.state("newer", "Running")
    tab_to(page.page, "Jobs")
    active = sidebar.rows.filter(has=page.page.locator("xpath=self::*[@aria-selected='true']"))
    expect(active).to_contain_text("newer")
    keys.press("ArrowDown")
    expect(active).to_contain_text("older")
    assert page.page.evaluate(SEEN)

    keys.press("l")
    expect(view.get_by_role("heading", level=1)).to_contain_text("older")
    until(lambda: at(page.page) == "Text of the log")
    assert page.page.evaluate(SEEN)
    expect(view.locator(".lp-Log-line").first).to_have_text("needle in the hay")
    keys.press("/")
    until(lambda: at(page.page) == "Find in the log")
    keys.type("hay")
    expect(view.locator(".lp-Log-count")).to_have_text("1 of 1")
    keys.press("Escape")

    keys.press("Control+Alt+l")
    focus_comes_to(page.page, "#lepton-sidebar")
    tab_to(page.page, "Jobs")
    expect(active).to_contain_text("older")
    keys.press("o")
    expect(view.get_by_role("heading", level=1)).to_contain_text("older")
    keys.press("Control+Alt+l")
    focus_comes_to(page.page, "#lepton-sidebar")
    tab_to(page.page, "Jobs")
    keys.press("ArrowUp")
    expect(active).to_contain_text("newer")
    keys.press("s")
    expect(page.page.locator(".jp-Dialog")).to_contain_text("newer")
    keys.press("Enter")
    sidebar.state("newer", "Stopped")
    sidebar.state("older", "Running")

    tab_to(page.page, "Jobs")
    keys.press("Home")
    expect(active).to_contain_text("older")
    keys.press("Enter")
    cell = page.page.locator(".jp-Notebook .jp-Cell.jp-mod-active")
    expect(cell).to_contain_text("--name older")
    expect(page.page.locator(".jp-NotebookPanel")).to_be_visible()
    gate.touch()
    sidebar.state("older", "Done")


def test_the_palette_offers_what_a_chosen_job_can_do(open_page: Open, tmp_path: Path) -> None:
    page = open_page("%%lepton_train --detach --name chosen\n" + gated(tmp_path / "gate", "print('first')", ""))
    page.run_all()
    keys, sidebar = page.page.keyboard, Sidebar(page.page)
    palette = page.page.locator("#modal-command-palette")

    def choose(words: str) -> None:
        keys.press("Control+Shift+c")
        focus_comes_to(page.page, "#modal-command-palette")
        keys.type(words)
        expect(palette.locator(".lm-CommandPalette-item.lm-mod-active")).to_contain_text(words)
        keys.press("Enter")
        expect(palette).not_to_be_visible()

    choose("Show Jobs and Targets")
    expect(sidebar.node).to_be_visible()
    sidebar.state("chosen", "Running")
    tab_to(page.page, "Jobs")
    keys.press("Home")
    choose("Open Log")
    expect(page.page.locator(".lp-View:visible").get_by_role("heading", level=1)).to_contain_text("chosen")
    (tmp_path / "gate").touch()
    sidebar.state("chosen", "Done")
