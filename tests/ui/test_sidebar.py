"""The sidebar in JupyterLab while cells run: it moves, stops them, outlives its server, and says what it missed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from lepton_jupyter.store import JobStore
from tests.ui._homecoming import until
from tests.ui._scenes import gated
from tests.ui._sidebar import KEEP_TOASTS, PLUGIN, Sidebar, progress
from tests.ui._site import Site, serve
from tests.ui.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TRAINS = """%%lepton_train --name 'train {name}'
import time
from tqdm import tqdm
bar = tqdm(range(2000), unit="epoch")
for step in bar:
    bar.set_postfix(loss=1 / (step + 1))
    time.sleep(0.05)
"""
AWAY = """seconds => {
    const key = Object.keys(localStorage).find(key => key.startsWith("lepton:seen:"));
    localStorage.setItem(key, String(Date.now() / 1000 - seconds));
}"""

#: Whether the layout that a reload restores has the sidebar and the view of a job.
KEPT = """async () => {
    const named = decodeURIComponent(location.pathname).match(/workspaces\\/([^/]+)/);
    const workspaces = await window.jupyterapp.serviceManager.workspaces.list();
    const at = workspaces.ids.indexOf(named ? named[1] : "default");
    const data = JSON.stringify(workspaces.values[at]?.data ?? {});
    return data.includes('"current":"lepton-sidebar"') && data.includes('"lepton-jobs:');
}"""


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "lepton.toml").write_text("[targets.spare]\nkind = 'local'\n")
    with serve("lab", browser, folder, repository) as site:
        site.prepare(KEEP_TOASTS)
        site.server.choose(PLUGIN, notifyAfter=0)
        yield site


def job(name: str, gate: Path, first: str = "print('first')", last: str = "print('last')") -> str:
    """A cell that goes on by itself, until the file `gate` is there."""
    return f"%%lepton_train --detach --name '{name}'\n{gated(gate, first, last)}"


def test_a_cell_appears_in_the_sidebar_moves_and_is_stopped_from_there(open_page: Open) -> None:
    page = open_page(TRAINS.format(name="resnet"))
    sidebar = Sidebar(page.page).open()
    page.run_all()
    row = sidebar.row("train resnet")
    sidebar.state("train resnet", "Running")
    expect(row).to_contain_text("local")
    expect(row.get_by_role("progressbar")).to_be_visible()
    began = until(lambda: max(0, progress(row)))
    until(lambda: progress(row) > began)
    expect(row).to_contain_text(re.compile(r"epoch \d+/2,?000"))
    expect(row).to_contain_text(re.compile(r"loss 0\.\d+"))
    expect(row.get_by_role("img", name=re.compile("^loss 0"))).to_be_visible()
    line = row.locator(".lp-Sparkline-line")
    until(lambda: (line.get_attribute("d") or "").count("L") > 2)
    expect(page.page.locator(".lp-Status")).to_contain_text("1 running")
    sidebar.stop(row)
    sidebar.state("train resnet", "Stopped")
    page.finish()
    page.ran(1, count=2)
    expect(page.outputs(1).last).to_contain_text(re.compile("KeyboardInterrupt|cancelled"))
    assert page.saved()[1].outputs[-1].output_type == "error"


def test_a_failed_job_is_run_again_on_another_target(open_page: Open, tmp_path: Path) -> None:
    page = open_page(
        f"%%lepton_train --detach --name again\nprint('read', len(open({str(tmp_path / 'data')!r}).read()))"
    )
    sidebar = Sidebar(page.page).open()
    page.run_all()
    sidebar.state("again", "Failed")
    page.finish()
    (tmp_path / "data").touch()
    failed = sidebar.row("again")
    expect(failed).to_contain_text("local")
    sidebar.act(failed, "Run Again on Another Target…")
    dialog = page.page.locator(".jp-Dialog")
    dialog.locator("select").select_option("spare")
    dialog.get_by_role("button", name="Run", exact=True).click()
    rows = sidebar.row("again")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("spare")
    expect(rows.first.locator(".lp-Job-state")).to_have_text("Done")
    expect(rows.last.locator(".lp-Job-state")).to_have_text("Failed")
    page.sees(1, "read 0")  # it belongs into the same cell, though no kernel of ours brings it there
    page.sees_no(1, "FileNotFoundError")


def test_a_server_that_is_restarted_is_found_again_without_a_reload(
    open_page: Open, site: Site, tmp_path: Path
) -> None:
    page = open_page(job("outlives", tmp_path / "gate"))
    sidebar = Sidebar(page.page).open()
    page.run_all()
    page.sees(1, "first")
    sidebar.state("outlives", "Running")
    page.page.evaluate("window.same = true")
    site.server.kill()
    sidebar.says("reconnecting")
    expect(sidebar.row("outlives")).to_be_visible()
    site.server.start()
    sidebar.says("live")
    sidebar.state("outlives", "Running")
    (tmp_path / "gate").touch()
    sidebar.state("outlives", "Done")
    assert page.page.evaluate("window.same")


def test_a_reload_brings_the_sidebar_back_as_it_was(open_page: Open, site: Site, tmp_path: Path) -> None:
    page = open_page(job("reloaded", tmp_path / "gate"))
    sidebar = Sidebar(page.page).open()
    page.run_all()
    sidebar.state("reloaded", "Running")
    sidebar.act(sidebar.row("reloaded"), "Open Job")
    view = page.page.locator(".lp-View")
    expect(view.get_by_role("heading", name="reloaded")).to_be_visible()
    count = sidebar.rows.count()
    until(lambda: page.page.evaluate(KEPT))
    page.page.reload()
    expect(sidebar.node).to_be_visible()
    expect(view.get_by_role("heading", name="reloaded")).to_be_visible()
    sidebar.says("live")
    sidebar.state("reloaded", "Running")
    expect(sidebar.rows).to_have_count(count)
    (tmp_path / "gate").touch()
    sidebar.state("reloaded", "Done")


def test_two_pages_see_the_same(open_page: Open, tmp_path: Path) -> None:
    page = open_page(job("shared", tmp_path / "gate"))
    other = open_page(again=page.path)
    sidebars = [Sidebar(page.page).open(), Sidebar(other.page).open()]
    page.run_all()
    for sidebar in sidebars:
        sidebar.state("shared", "Running")
    sidebars[1].stop(sidebars[1].row("shared"))
    for sidebar in sidebars:
        sidebar.state("shared", "Stopped")
    until(lambda: sidebars[0].list.inner_text() == sidebars[1].list.inner_text())  # the clocks of rows may differ


def test_what_ended_while_the_page_was_closed_is_said_once(open_page: Open, site: Site, tmp_path: Path) -> None:
    page = open_page(job("good", tmp_path / "good"), job("bad", tmp_path / "bad", last="raise ValueError('no data')"))
    sidebar = Sidebar(page.page).open()
    page.run_all()
    sidebar.state("bad", "Queued")
    page.page.evaluate(AWAY, 600)
    page.page.close()
    (tmp_path / "good").touch()
    (tmp_path / "bad").touch()
    with closing(JobStore(site.folder.parent / "state" / "jobs.db")) as store:
        until(lambda: all(job.state.final for job in store.list(notebook=str(page.path))))
    again = open_page(again=page.path)
    sidebar = Sidebar(again.page).open()
    line = sidebar.node.locator(".lp-Away")
    sidebar.state("bad", "Failed")
    expect(line).to_contain_text("While you were away:")
    line.get_by_role("button", name=re.compile(r"^\d+ failed$")).click()
    expect(sidebar.row("bad")).to_be_visible()
    expect(sidebar.row("good")).to_have_count(0)
    expect(sidebar.row("bad")).to_contain_text("no data")
    line.get_by_role("button", name="Dismiss").click()
    expect(line).to_have_count(0)


def test_a_job_that_ends_is_told_of_once(open_page: Open, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    failing = job("wrong", first, last="raise ValueError('no data')")
    page = open_page(job("told", first), failing, job("next", first), job("after", second))
    sidebar = Sidebar(page.page).open()
    page.run_all()
    sidebar.state("after", "Queued")
    first.touch()
    until(lambda: len(ours(sidebar)) >= 3)
    assert sorted(re.findall("“(.*?)” (?:is|failed)", "\n".join(ours(sidebar)))) == ["next", "told", "wrong"]
    assert any("ValueError: no data" in text for text in ours(sidebar))
    page.reload()
    sidebar.open()
    sidebar.state("after", "Running")
    second.touch()
    until(lambda: ours(sidebar))  # by then those of before would have been told of again
    assert re.findall("“(.*?)”", "\n".join(ours(sidebar))) == ["after"]


def test_no_job_is_told_of_when_that_is_switched_off(open_page: Open, site: Site, tmp_path: Path) -> None:
    failing = job("loud", tmp_path / "gate", last="raise ValueError('no data')")
    site.server.choose(PLUGIN, notifyAfter=0, notifications="failures")
    page = open_page(job("silent", tmp_path / "gate"), failing)
    sidebar = Sidebar(page.page).open()
    page.run_all()
    sidebar.state("loud", "Queued")
    (tmp_path / "gate").touch()
    until(lambda: ours(sidebar))
    site.server.choose(PLUGIN, notifyAfter=0)
    sidebar.state("silent", "Done")
    assert [("loud" in text, "silent" in text) for text in ours(sidebar)] == [(True, False)]


def test_a_page_that_wants_no_notifications_shows_none(open_page: Open, site: Site, tmp_path: Path) -> None:
    failing = job("noisy", tmp_path / "gate", last="raise ValueError('no data')")
    site.server.choose(PLUGIN, notifyAfter=0, notifications="none")
    page = open_page(job("quiet", tmp_path / "gate"), failing)
    site.server.choose(PLUGIN, notifyAfter=0)
    other = open_page(again=page.path)
    silent, told = Sidebar(page.page).open(), Sidebar(other.page).open()
    page.run_all()
    for sidebar in (silent, told):
        sidebar.state("noisy", "Queued")
    (tmp_path / "gate").touch()
    until(lambda: len(ours(told)) == 2)  # by then this page would have said it, too
    silent.state("noisy", "Failed")
    assert ours(silent) == []


def ours(sidebar: Sidebar) -> list[str]:
    """The notifications about jobs."""
    return [text for text in sidebar.toasts if "is done on" in text or "failed on" in text]
