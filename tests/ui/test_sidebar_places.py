"""The sidebar behind a JupyterHub prefix, in Chinese, beside another extension; a new place to run, by its form."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.fakes.sshd import Sshd, fingerprint, free_port
from tests.ui._scenes import gated
from tests.ui._sidebar import Sidebar
from tests.ui._site import Site, serve
from tests.ui.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BASE = "/user/ann/"
#: The addresses of all sockets.
SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
    constructor(...given) { super(...given); window.sockets.push(this.url); }
};
"""


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("lab")
    install(folder / "share" / "labextensions" / "costs")
    own = {
        "PYTHONPATH": os.pathsep.join([str(repository), str(language_pack(folder / "pack"))]),
        "JUPYTER_PATH": str(folder / "share"),
    }
    with serve("lab", browser, folder, repository, base=BASE, environ=own) as site:
        site.prepare(SOCKETS)
        yield site


#: A prebuilt extension as its builder leaves it, without the builder: it takes our tokens from what JupyterLab shares.
COSTS = """
var _JUPYTERLAB = window._JUPYTERLAB ??= {};
_JUPYTERLAB["costs"] = {
    init(scope) { this.scope = scope; },
    async shared(name) {
        const [version] = Object.values(this.scope[name]);
        return (await version.get())();
    },
    async get() {
        const { ILepton, ILeptonPanels } = await this.shared("lepton-jupyter");
        const { Widget } = await this.shared("@lumino/widgets");
        const activate = (app, lepton, panels) => {
            const widget = new Widget();
            const show = () => { widget.node.textContent = `paid for ${lepton.jobs.list.length} jobs`; };
            lepton.jobs.changed.connect(show);
            show();
            window.costs = panels.add({ id: "my-costs", title: "Costs", rank: 300, widget });
        };
        const plugin = { id: "costs:panel", autoStart: true, requires: [ILepton, ILeptonPanels], activate };
        return () => ({ __esModule: true, default: plugin });
    },
};
"""


def install(folder: Path) -> None:
    """Put the extension `costs` where JupyterLab looks for such."""
    (folder / "static").mkdir(parents=True)
    (folder / "static" / "remoteEntry.js").write_text(COSTS)
    build = {"load": "static/remoteEntry.js", "extension": "./extension"}
    package = {"name": "costs", "version": "1.0.0", "jupyterlab": {"extension": True, "_build": build}}
    (folder / "package.json").write_text(json.dumps(package))


def language_pack(folder: Path) -> Path:
    """JupyterLab's own translation is a package, and none of ours is used without it; this one is empty."""
    package, info = folder / "pack_zh_CN", folder / "pack_zh_CN-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").touch()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pack-zh-CN\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[jupyterlab.languagepack]\nzh_CN = pack_zh_CN\n")
    return folder


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[Sshd]:
    """A host that nobody here has been to."""
    server = Sshd(tmp_path_factory.mktemp("ssh") / "sshd", home_mark=str(home))
    yield server
    server.stop()


def fill(dialog: Locator, **fields: str) -> None:
    for name, value in fields.items():
        dialog.locator(f'[name="{name}"]').fill(value)
    dialog.get_by_role("button", name="Test and add").click()


def test_behind_a_prefix_the_stream_and_the_rest_are_found(open_page: Open, tmp_path: Path) -> None:
    page = open_page(
        "%%lepton_train --detach --name far\n" + gated(tmp_path / "gate", "print('first')", "print('last')")
    )
    sidebar = Sidebar(page.page).open()
    page.run_all()
    sidebar.state("far", "Running")
    assert any(f"{BASE}lepton/api/stream" in url for url in page.page.evaluate("window.sockets"))
    sidebar.act(sidebar.row("far"), "Open Job")
    expect(page.page.locator(".lp-Log-line").first).to_have_text("first")
    download = page.page.get_by_role("link", name="Download").get_attribute("href") or ""
    assert f"{BASE}lepton/api/jobs/" in download
    (tmp_path / "gate").touch()
    sidebar.state("far", "Done")


def test_a_new_target_is_tried_before_it_is_added(open_page: Open, site: Site, stranger: Sshd, tmp_path: Path) -> None:
    known, config = tmp_path / "known_hosts", tmp_path / "ssh_config"
    known.touch()
    config.write_text(stranger.config_block(known, alias="gpu1"))
    page = open_page()
    sidebar = Sidebar(page.page).open()
    sidebar.node.get_by_role("button", name="Add a target…").click()
    dialog = page.page.locator(".jp-Dialog")
    result = dialog.locator(".lp-Form-result")
    more = f"ssh_config = {config}"
    fill(dialog, name="gpu1", url="ssh://gpu1", python=sys.executable, price="2.10", more=more)
    key = fingerprint(stranger.public_key("ed25519"))
    expect(result).to_contain_text("is not known yet")
    expect(result).to_contain_text(f"has the fingerprint {key}")
    expect(result).to_contain_text("Compare it")
    expect(sidebar.target("gpu1")).to_have_count(0)
    dialog.get_by_role("button", name="The fingerprint is right: accept it").click()
    expect(dialog).to_have_count(0)
    expect(sidebar.target("gpu1")).to_contain_text("ssh")
    expect(sidebar.target("gpu1")).to_contain_text("connected")
    assert "[targets.gpu1]" in (site.folder.parent / "lepton.toml").read_text()


def test_a_wrong_address_is_answered_in_words_and_not_added(open_page: Open, site: Site) -> None:
    page = open_page()
    sidebar = Sidebar(page.page).open()
    sidebar.node.get_by_role("button", name="Add a target…").click()
    dialog = page.page.locator(".jp-Dialog")
    result = dialog.locator(".lp-Form-result")
    fill(dialog, name="nowhere", url=f"ssh://ann@127.0.0.1:{free_port()}")
    expect(result).to_contain_text("refuses connections")
    expect(result).to_contain_text("is the port right?")
    fill(dialog, name="no where!", url="ssh://ann@127.0.0.1")
    expect(result).to_contain_text("'no where!' cannot name a target")
    fill(dialog, name="nowhere", url="gopher://ann")
    expect(result).to_contain_text("no target is of the kind 'gopher'")
    dialog.get_by_role("button", name="Close", exact=True).click()
    expect(sidebar.target("nowhere")).to_have_count(0)
    config = site.folder.parent / "lepton.toml"
    assert not config.exists() or "nowhere" not in config.read_text()


def test_another_extension_adds_a_panel_and_takes_it_away(open_page: Open, tmp_path: Path) -> None:
    page = open_page("%%lepton_train --name paid\nprint('done')")
    sidebar = Sidebar(page.page).open()
    page.run_all()
    sidebar.state("paid", "Done")
    titles = sidebar.node.locator(".lm-AccordionPanel-title")
    expect(titles).to_contain_text(["Targets", "Jobs", "Costs"])
    expect(sidebar.node.get_by_text(f"paid for {sidebar.rows.count()} jobs")).to_be_visible()
    page.page.evaluate("() => window.costs.dispose()")
    expect(titles).to_contain_text(["Targets", "Jobs"])
    expect(sidebar.node.get_by_text("paid for")).to_have_count(0)
    expect(sidebar.row("paid")).to_be_visible()


def test_the_sidebar_speaks_chinese(open_page: Open, site: Site, tmp_path: Path) -> None:
    site.server.choose("@jupyterlab/translation-extension/plugin", locale="zh_CN")
    page = open_page("%%lepton_train --detach --name weit\n" + gated(tmp_path / "gate", "print('first')", ""))
    site.server.choose("@jupyterlab/translation-extension/plugin")
    sidebar = Sidebar(page.page)
    page.execute("lepton:activate")
    page.run_all()
    sidebar.state("weit", "运行中")
    expect(sidebar.node.get_by_role("button", name="添加目标…")).to_be_visible()
    expect(sidebar.node.locator(".lp-Filter-text")).to_have_attribute("placeholder", "筛选作业…")
    (tmp_path / "gate").touch()
    sidebar.state("weit", "已完成")
