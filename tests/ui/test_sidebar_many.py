"""The sidebar with 5,000 jobs of a real store: it finds, it scrolls, and one change redraws one row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.ui._homecoming import until
from tests.ui._jobs import fill, finished, later, running
from tests.ui._sidebar import Sidebar
from tests.ui._site import Site, serve
from tests.ui.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MANY = 5_000
#: From here on: the rows that anything changed in.
TOUCHED = """() => {
    window.touched = new Set();
    new MutationObserver(changes => changes.forEach(({ target }) => {
        const row = (target instanceof Element ? target : target.parentElement)?.closest("[data-job]");
        if (row) window.touched.add(row.dataset.job);
    })).observe(document.querySelector(".lp-JobList"),
        { subtree: true, childList: true, attributes: true, characterData: true });
}"""
#: Scroll as fast as a wheel is turned hard, then to the end; in how many frames the middle was empty.
SCROLL = """async () => {
    const node = document.querySelector(".lp-JobList-scroll");
    const frame = () => new Promise(resolve => requestAnimationFrame(resolve));
    let empty = 0;
    node.scrollTop = 0;
    for (let step = 1; step <= 100; step++) {
        node.scrollTop += 300;
        await frame();
        const box = node.getBoundingClientRect();
        const drawn = document.elementFromPoint(box.left + 20, box.top + box.height / 2);
        empty += drawn?.closest("[data-job]") ? 0 : 1;
    }
    node.scrollTop = node.scrollHeight;
    return empty;
}"""


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("lab")
    fill(folder / "state" / "jobs.db", [finished(n, folder / "notebooks") for n in range(MANY - 1)])
    with serve("lab", browser, folder, repository) as site:
        yield site


@pytest.fixture
def sidebar(open_page: Open) -> Sidebar:
    page = open_page()
    return Sidebar(page.page).open()


def only(rows: list[str], *words: str) -> bool:
    """Whether there are rows, and each says all of `words`."""
    return bool(rows) and all(word in row for row in rows for word in words)


def test_what_one_looks_for_is_found_among_5000_jobs(sidebar: Sidebar) -> None:
    expect(sidebar.chip("Failed")).to_contain_text(str(len(range(0, MANY - 1, 9))))
    assert sidebar.rows.count() < 60
    sidebar.filter("resnet 4998")
    expect(sidebar.rows).to_have_count(1)
    expect(sidebar.row("train resnet 4998")).to_contain_text("gpu2")
    sidebar.filter("work9 out of memory")
    sidebar.chip("Failed").click()
    until(lambda: only(sidebar.rows.all_inner_texts(), "work9", "CUDA out of memory", "Failed"))
    sidebar.filter("there is no such job")
    sidebar.node.get_by_role("button", name="Show all jobs").click()
    expect(sidebar.row("evaluate 2").first).to_be_visible()


def test_5000_rows_scroll_without_holes(sidebar: Sidebar) -> None:
    expect(sidebar.rows.first).to_be_visible()
    until(lambda: sidebar.page.evaluate(SCROLL) == 0)  # on a machine that is busy, a frame may come too late
    expect(sidebar.row(f" {MANY - 2}")).to_be_visible()
    sidebar.list.press("Home")
    expect(sidebar.rows.first).to_have_attribute("aria-posinset", "1")


def test_news_of_one_job_among_5000_touch_one_row(sidebar: Sidebar, site: Site) -> None:
    store = site.folder.parent / "state" / "jobs.db"
    job = running("the one that moves", site.folder)
    fill(store, [job])
    later(store, job, "test")
    row = sidebar.row("the one that moves")
    expect(row).to_contain_text("30 %")
    until(lambda: sidebar.list.get_attribute("style"))
    sidebar.page.evaluate(TOUCHED)
    progress = {**job.telemetry["progress"], "fraction": 0.55, "done": 11, "time": time.time()}
    later(store, job, "test", telemetry={"progress": progress})
    expect(row).to_contain_text("55 %")
    expect(row.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "55")
    # The clock of other rows may have struck meanwhile; that is a word in a row that runs.
    assert sidebar.page.evaluate("[...window.touched]") == [job.job_id]
