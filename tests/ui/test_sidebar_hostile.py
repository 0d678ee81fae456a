"""Names, causes and outputs that are HTML do nothing, wherever the sidebar and its views show them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui._homecoming import until
from tests.ui._jobs import fill, finished, running
from tests.ui._scenes import gated
from tests.ui._sidebar import KEEP_TOASTS, PLUGIN, Sidebar
from tests.ui._site import Site, serve
from tests.ui.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

IMAGE = '<img src=x onerror="window.pwned=1">'
SCRIPT = "<script>window.pwned=1</script>"
#: Targets cannot be named so; where one is and how it is reached can.
CONFIG = f"[targets.evil]\nkind = 'ssh'\nhost = '{IMAGE}'\n"
PRINTS = f"""%%lepton_train --detach --name '{SCRIPT}'
print({IMAGE + SCRIPT!r})
display({ {f"text/{IMAGE}": "x", "text/plain": SCRIPT}!r}, raw=True)
WAIT
raise ValueError({IMAGE + SCRIPT!r})
"""
LEAVES = f"""%%lepton_train --detach --name leaves --out w
w = [1, 2, 3]
for name, text in { {f"../../{IMAGE}": SCRIPT, "gone": "soon"}!r}.items():
    open("file", "w").write(text)
    lepton.artifact("file", name)
"""


#: The targets' names are ours, so the status bar shows nothing from elsewhere, unless the server itself says so.
EVIL_SUMMARY = """
const parse = JSON.parse;
JSON.parse = (...given) => {
    const value = parse(...given);
    return value?.type === "summary" ? { ...value, busiest: TEXT } : value;
};
""".replace("TEXT", json.dumps(IMAGE + SCRIPT))


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "lepton.toml").write_text(CONFIG)
    with serve("lab", browser, folder, repository) as site:
        site.prepare(KEEP_TOASTS)
        site.server.choose(PLUGIN, notifyAfter=0)
        site.prepare(EVIL_SUMMARY)
        yield site


def harmless(page: Page) -> None:
    """Nothing was run, and nothing became an element that could be."""
    assert page.evaluate("window.pwned") is None
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("script", has_text="window.pwned").count() == 0


def test_nothing_in_a_job_is_run_where_it_is_shown(open_page: Open, site: Site, tmp_path: Path) -> None:
    page = open_page(PRINTS.replace("WAIT", gated(tmp_path / "gate", "", "")), name=IMAGE)
    sidebar = Sidebar(page.page).open()
    page.run_all()
    row = sidebar.row(SCRIPT)
    sidebar.state(SCRIPT, "Running")
    expect(row.locator(".lp-Job-place")).to_contain_text(IMAGE)
    expect(page.page.locator(".lp-Status")).to_contain_text(f"1 running · {IMAGE}{SCRIPT}")
    harmless(page.page)

    # its questions
    sidebar.act(row, "Stop…")
    dialog = page.page.locator(".jp-Dialog")
    expect(dialog).to_contain_text(SCRIPT)
    dialog.get_by_role("button", name="Go on").click()

    # JupyterLab's own list of what is running
    page.page.evaluate("() => window.jupyterapp.shell.activateById('jp-running-sessions')")
    expect(page.page.locator("#jp-running-sessions")).to_contain_text(SCRIPT)
    harmless(page.page)

    # its end, its notification, its cause
    sidebar.open()
    (tmp_path / "gate").touch()
    sidebar.state(SCRIPT, "Failed")
    expect(row.locator(".lp-Job-cause")).to_contain_text(f"ValueError: {IMAGE}")
    told = until(lambda: [text for text in sidebar.toasts if "failed on" in text])
    assert SCRIPT in told[0] and IMAGE in told[0]
    harmless(page.page)

    # its page, with its log and what it displayed
    sidebar.act(row, "Open Log")
    view = page.page.locator(".lp-View")
    expect(view.get_by_role("heading", level=1)).to_contain_text(SCRIPT)
    expect(view.locator(".lp-View-cause")).to_contain_text(IMAGE)
    expect(view.locator(".lp-Log-line").first).to_have_text(IMAGE + SCRIPT)
    expect(view.locator(".lp-Artifacts")).to_contain_text(f"text/{IMAGE}")
    expect(page.page.locator(".lm-TabBar-tabLabel", has_text=SCRIPT)).to_be_visible()
    view.locator(".lp-View-code summary").click()
    expect(view.locator(".lp-View-code pre")).to_contain_text(IMAGE)
    harmless(page.page)

    # the log's search
    view.get_by_role("searchbox").fill("<img")
    expect(view.locator(".lp-Log-count")).to_contain_text("1 of")
    harmless(page.page)

    # the question for another target
    page.page.evaluate("() => { window.jupyterapp.commands.execute('lepton:retry-elsewhere'); }")
    expect(dialog).to_contain_text(SCRIPT)
    dialog.get_by_role("button", name="Cancel").click()
    harmless(page.page)


def test_files_of_a_job_are_downloaded_whatever_they_are_called(open_page: Open, site: Site) -> None:
    page = open_page(LEAVES)
    sidebar = Sidebar(page.page).open()
    page.run_all()
    sidebar.state("leaves", "Done")
    digest = hashlib.sha256(b"soon").hexdigest()
    (site.folder.parent / "state" / "host" / "blobs" / digest[:2] / digest).unlink()
    sidebar.act(sidebar.row("leaves"), "Open Job")
    section = page.page.locator(".lp-Artifacts")
    expect(section.get_by_role("list", name="Variables")).to_contain_text("w")
    files = section.get_by_role("list", name="Files on its host").get_by_role("listitem")
    expect(files.first).to_contain_text(f"../../{IMAGE}")
    button = files.first.get_by_role("button", name=f"Download ../../{IMAGE}")
    button.focus()
    with page.page.expect_download() as download:
        page.page.keyboard.press("Enter")
    assert download.value.suggested_filename == "_img src=x onerror=_window.pwned=1__"
    assert download.value.path().read_text() == SCRIPT
    expect(button).to_be_focused()
    files.last.get_by_role("button").click()
    expect(files.last.get_by_role("status")).to_contain_text("local does not keep gone any more")
    harmless(page.page)


def test_nothing_in_a_store_or_a_configuration_is_run(open_page: Open, site: Site) -> None:
    """What no magic of ours would write, another program may have."""
    page = open_page()
    store = site.folder.parent / "state" / "jobs.db"
    evil = finished(9, site.folder)
    spec = dataclasses.replace(evil.spec, target=IMAGE, kernel=SCRIPT, name=IMAGE, notebook=f"/{IMAGE}", cell_id=SCRIPT)
    gone = {"seq": 1, "state": "gone", "how": SCRIPT, "words": IMAGE, "time": 1.0, "final": True}
    failed = dataclasses.replace(evil, spec=spec, cause=IMAGE + SCRIPT, written=gone)
    live = running(SCRIPT, site.folder)
    telemetry = {
        "progress": {"fraction": 0.5, "done": 1, "total": 2, "unit": IMAGE, "eta": None, "time": 1.0},
        "metric": {"name": IMAGE, "value": 1.0, "points": [[0.0, 1.0], [1.0, 2.0]]},
        "usage": {"words": IMAGE},
    }
    fill(store, [failed, dataclasses.replace(live, telemetry=telemetry)])
    sidebar = Sidebar(page.page).open()
    expect(sidebar.target("evil")).to_contain_text(IMAGE)
    sidebar.filter("img")
    row = sidebar.row(IMAGE)
    expect(row).to_contain_text(IMAGE)
    expect(row.locator(".lp-Job-cause")).to_have_text(IMAGE + SCRIPT)
    expect(row.locator(".lp-Job-note")).to_have_text(IMAGE)
    sidebar.act(row, "Open Job")
    view = page.page.locator(".lp-View")
    expect(view.get_by_role("heading", level=1)).to_contain_text(IMAGE)
    expect(view.locator(".lp-View-facts")).to_contain_text(f"on {IMAGE}")
    sidebar.target("evil").locator(".lp-Target-name").click()
    expect(page.page.locator(".lp-View:visible")).to_contain_text(IMAGE)
    harmless(page.page)
