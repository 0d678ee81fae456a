"""Fixtures for tests in a browser. A failed test leaves a picture of each page that it had open in its tmp_path."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error

pytest.register_assert_rewrite("tests.ui._scenes")

from tests.ui._page import NotebookPage  # noqa: E402
from tests.ui._site import Site, chromium  # noqa: E402

Open = Callable[..., NotebookPage]
_opened = pytest.StashKey[tuple[Path, list[NotebookPage]]]()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Open for one file of tests only: while it is, nothing else in this thread can run an event loop."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[Open]:
    """Opens a new notebook with the cells given, or one `again`. The test's module says what `site` is."""
    pages: list[NotebookPage] = []
    request.node.stash[_opened] = tmp_path, pages

    def open_page(*cells: str, again: Path | None = None, name: str = "", title: str = "") -> NotebookPage:
        called = name or f"{request.node.name}-{len(pages)}"
        opened = site.reopen(again) if again else site.open(called, *cells, title=title)
        pages.append(opened)
        return opened

    yield open_page
    for page in pages:
        page.page.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Other people's pages and servers stand between us and the screen: a test here gets a second try, and is named."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and call.when == "call" and _opened in item.stash:
        folder, pages = item.stash[_opened]
        for number, page in enumerate(pages):
            picture = folder / f"page-{number}.png"
            try:
                page.page.screenshot(path=picture)
                report.sections.append(("what the browser showed", str(picture)))
            except Error as error:  # a page may be what broke
                report.sections.append(("no picture of the page", error.message))
    return report
