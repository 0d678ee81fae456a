"""How the sidebar looks, in both themes: a real training on a host that shows two H100s, among the jobs of a day.

The pictures stay in the test's tmp_path; with README_IMAGES=docs/images they also become those of the README.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from lepton_jupyter.job import Job, JobState
from lepton_jupyter.store import JobStore
from tests.faults._road import agents, kernel_of, write_config
from tests.ui._gpus import GpuHost
from tests.ui._homecoming import until
from tests.ui._jobs import HOUR, fill, finished
from tests.ui._sidebar import Sidebar, progress
from tests.ui._site import Site, serve
from tests.ui.conftest import Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TITLE = """# Spirals
Two layers learn to tell two spirals apart. The data stays here; the work is done on **dgx-1**."""
TRAINS = """%%lepton_train --on dgx-1 --card
# Train the spiral net
import time
import numpy as np
from tqdm import tqdm

rng = np.random.default_rng(7)
t = rng.uniform(1, 10, 800)
x = np.stack([t * np.cos(t), t * np.sin(t)], 1) * np.repeat([[1], [-1]], 400, 0) / 4
y = np.repeat([0.0, 1.0], 400)
w1, b1, w2 = rng.normal(size=(2, 64)), rng.normal(size=64), rng.normal(size=64) / 8

for epoch in (bar := tqdm(range(120), unit="epoch")):
    for batch in rng.permutation(800).reshape(16, 50):
        h = np.tanh(x[batch] @ w1 + b1)
        p = 1 / (1 + np.exp(-h @ w2))
        error = (p - y[batch]) / 50
        w1 -= 0.3 * x[batch].T @ (np.outer(error, w2) * (1 - h**2))
        w2 -= 0.3 * h.T @ error
    loss = -np.log(np.where(y[batch] == 1, p, 1 - p)).mean()
    bar.set_postfix(loss=f"{loss:.4f}")
    time.sleep(0.3)
"""
EVALUATES = "%%lepton_train --on dgx-1 --detach\n# Evaluate on all spirals\nprint(np.tanh(x @ w1 + b1) @ w2 > 0)"
DAY = (
    ("Distill to 4 M parameters", "distill", "dgx-1", JobState.COMPLETED, 0.4, 1460),
    ("Tune learning rate 3e-4", "tune", "dgx-1", JobState.COMPLETED, 1.1, 640),
    ("Embed the corpus", "embed", "local", JobState.COMPLETED, 2.2, 2210),
    ("Train at batch 4096", "resnet", "dgx-1", JobState.FAILED, 3.0, 95),
    ("Train at batch 1024", "resnet", "dgx-1", JobState.COMPLETED, 3.6, 5130),
    ("Prune to half", "compress", "dgx-1", JobState.CANCELLED, 5.5, 300),
    ("Clean the labels", "prepare", "local", JobState.COMPLETED, 6.1, 48),
)
CAUSE = "OutOfMemoryError: CUDA out of memory. Tried to allocate 9.50 GiB"
#: How much a text stands out from what is behind it, as WCAG counts.
CONTRAST = """node => {
    const channels = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    let behind = node;
    while ((channels(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
    const [a, b] = [getComputedStyle(node).color, getComputedStyle(behind).backgroundColor].map(channels).map(light);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""
THEME = "async theme => { await window.jupyterapp.commands.execute('apputils:change-theme', { theme }); }"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[GpuHost]:
    host = GpuHost(tmp_path_factory.mktemp("gpus") / "dgx", home, "dgx-1")
    yield host
    host.stop()


@pytest.fixture(scope="module")
def site(browser: Browser, host: GpuHost, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("lab")
    write_config(folder / "lepton.toml", {"dgx-1": host.target})
    fill(folder / "state" / "jobs.db", [*the_day(folder / "notebooks")])
    with serve("lab", browser, folder, repository) as site:
        yield site


def the_day(folder: Path) -> Iterator[Job]:
    """The jobs that were there before."""
    for number, (name, notebook, target, state, hours, took) in enumerate(DAY, 1):
        job, ended = finished(number, folder), time.time() - hours * HOUR
        spec = dataclasses.replace(job.spec, name=name, notebook=str(folder / f"{notebook}.ipynb"), target=target)
        yield dataclasses.replace(
            job, spec=spec, state=state, cause=CAUSE if state is JobState.FAILED else "", created=ended - took - 2,
            started=ended - took, ended=ended,
        )  # fmt: skip


def keep(page: Page, folder: Path, name: str) -> None:
    """A picture, for the test run and, if that is asked for, for the README."""
    page.mouse.move(700, 5)
    page.screenshot(path=folder / name)
    if images := os.environ.get("README_IMAGES"):
        shutil.copy(folder / name, images)


def drag(page: Page, panel: Locator, *, width: int = 0, height: int = 0) -> None:
    """Drag the right border of a panel to that width, or the lower one to that height."""
    box = panel.bounding_box()
    assert box is not None
    left, top, right, bottom = box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]
    page.mouse.move(*((right + 1, top + 60) if width else (right - 30, bottom + 1)))
    page.mouse.down()
    page.mouse.move(*((left + width, top + 60) if width else (right - 30, top + height)), steps=4)
    page.mouse.up()


def test_both_themes_show_targets_and_jobs(open_page: Open, site: Site, host: GpuHost, tmp_path: Path) -> None:
    page = open_page(TRAINS, EVALUATES, name="spirals", title=TITLE)
    page.page.set_viewport_size({"width": 1240, "height": 980})
    sidebar = Sidebar(page.page).open()
    drag(page.page, page.page.locator("#jp-left-stack"), width=370)
    drag(page.page, page.page.locator("#lepton-targets"), height=365)
    page.run_all()
    row = sidebar.row("Train the spiral net")
    sidebar.state("Train the spiral net", "Running")
    host.hold(kernel_of(until(lambda: agents(host.sshd.root))[0]).pid)
    target = sidebar.target("dgx-1")
    expect(target).to_contain_text("connected")
    for number, memory in ((0, "62"), (1, "22")):
        device = target.get_by_role("group", name=f"GPU {number} NVIDIA H100 80GB HBM3")
        expect(device).to_contain_text(re.compile(r"\d+ %"))
        expect(device).to_contain_text(re.compile(rf"{memory}/80 GB"))
        expect(device).to_contain_text("°C")
        expect(device).to_contain_text(re.compile(r"\d{3} W"))
    expect(target).to_contain_text("Train the spiral net")
    until(lambda: progress(row) >= 30)
    expect(row).to_contain_text(re.compile(r"loss 0\.\d+"))
    expect(page.cell(1)).to_contain_text("Running")
    page.page.locator(".jp-WindowedPanel-outer").first.evaluate("node => { node.scrollTop = 0; }")
    page.page.evaluate("() => document.activeElement.blur()")
    for theme, name in (("JupyterLab Light", "light"), ("JupyterLab Dark", "dark")):
        page.page.evaluate(THEME, theme)
        expect(page.page.locator("body")).to_have_attribute("data-jp-theme-light", str(name == "light").lower())
        expect(page.page.locator("#jupyterlab-splash")).to_have_count(0)
        keep(page.page, tmp_path, f"sidebar-{name}.png")
        texts = sidebar.node.locator(".lp-Job-title, .lp-Job-state, .lp-Job-place, .lp-Job-cause, .lp-Device-figure")
        for text in texts.all():
            assert text.evaluate(CONTRAST) > 4.5, f"{name}: {text.inner_text()}"

    page.page.evaluate(THEME, "JupyterLab Light")
    until(lambda: progress(row) >= 60 or "Done" in row.inner_text())
    sidebar.act(row, "Open Job")
    view = page.page.locator(".lp-View")
    expect(view.locator("svg").first).to_be_visible()
    expect(view).to_contain_text("Device memory")
    expect(view.locator(".lp-Log-line").last).to_contain_text("loss=")
    keep(page.page, tmp_path, "job-light.png")
    sidebar.state("Train the spiral net", "Done")
    sidebar.state("Evaluate on all spirals", "Done")
    done = JobStore(site.folder.parent / "state" / "jobs.db")
    last = next(job for job in done.list() if job.spec.title == "Evaluate on all spirals")
    assert last.state is JobState.COMPLETED
