"""The sidebar's list in a real browser: until it is drawn, and what one change of one job among thousands costs.

What one change costs is counted in the page itself: what the script does with the message, and the frame it leads to,
with layout and paint. The peer is a plain list of the same rows in the same page, all of them in the document.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.ui._jobs import fill, finished, later, running

from ._bed import Bed
from ._browser import site
from ._table import Row, Sample, against

if TYPE_CHECKING:
    from playwright.sync_api import Page

_HOLDER = "bench"
#: Counts the milliseconds of each of our messages that has jobs: its handler, and the next frame up to its paint.
_COUNT = """
window.costs = [];
window.bytes = 0;
const Plain = window.WebSocket;
window.painted = (work, done) => {
    let began = 0;
    requestAnimationFrame(() => { began = performance.now(); });
    const start = performance.now();
    work();
    const worked = performance.now() - start;
    requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => done(worked + performance.now() - began);
        channel.port2.postMessage(null);
    });
};
window.WebSocket = class extends Plain {
    set onmessage(hear) {
        const ours = this.url.includes("lepton/api/stream");
        super.onmessage = hear && ours ? event => {
            window.bytes += event.data.length;
            if (!event.data.startsWith('{"type":"change"')) return hear(event);
            window.painted(() => hear(event), cost => window.costs.push(cost));
        } : hear;
    }
    get onmessage() { return super.onmessage; }
};
"""
#: Milliseconds from the command to the first frame that has rows in it.
_OPEN = """async () => {
    const began = performance.now();
    await window.jupyterapp.commands.execute("lepton:activate");
    while (!document.querySelector("#lepton-sidebar .lp-Job")) {
        await new Promise(resolve => requestAnimationFrame(resolve));
    }
    return await new Promise(resolve => window.painted(() => {}, () => resolve(performance.now() - began)));
}"""
#: The same rows as plain elements: milliseconds until they are drawn, and of each of so many changes of one of them.
_PLAIN = """async ([rows, changes]) => {
    const list = document.createElement("div");
    list.style.cssText = "position: fixed; inset: 0 auto 0 0; width: 300px; overflow: auto; z-index: 9";
    document.body.append(list);
    const draw = () => {
        list.innerHTML = rows.map(() => "<div style='padding: 5px'><div><b></b> <i></i></div><p></p></div>").join("");
        [...list.children].forEach((node, i) => {
            node.querySelector("b").textContent = rows[i].name;
            node.querySelector("i").textContent = rows[i].state;
            node.querySelector("p").textContent = rows[i].place;
        });
    };
    const measured = work => new Promise(resolve => window.painted(work, resolve));
    const first = await measured(draw);
    const costs = [];
    for (let n = 0; n < changes; n++) {
        costs.push(await measured(() => { list.querySelector("i").textContent = `Running ${n}`; }));
    }
    list.remove();
    return [first, costs];
}"""


def listed(bed: Bed) -> list[Row]:
    count, changes, opened = (200, 3, 1) if bed.quick else (5_000, 40, 5)
    folder = bed.new_folder()
    store = folder / "state" / "jobs.db"
    jobs = [finished(n, folder / "notebooks") for n in range(count - 1)]
    live = running("the one that moves", folder / "notebooks")
    fill(store, [*jobs, live])
    later(store, live, _HOLDER)
    rows = [{"name": job.spec.name, "place": job.spec.target, "state": job.state.value} for job in [live, *jobs]]
    first: list[float] = []
    plain_first: list[float] = []
    with site(bed, folder) as lab:
        lab.prepare(_COUNT)
        for number in range(opened):
            page = lab.open(f"bench{number}").page
            page.evaluate("async () => { await window.jupyterapp.restored; }")
            first.append(page.evaluate(_OPEN) / 1000)
            drawn, costs = page.evaluate(_PLAIN, [rows, changes])
            plain_first.append(drawn / 1000)
            if number < opened - 1:
                page.close()
        size = page.evaluate("window.bytes")
        ours = _updates(page, store, live, changes)
    theirs = Sample(values=tuple(cost / 1000 for cost in costs))
    shown, peer = Sample(values=tuple(first)), Sample(values=tuple(plain_first))
    return [
        Row(
            figure=f"one change of one job among {count:,} in the sidebar: script, layout and paint",
            goal="≤ 16 ms", ours=str(ours), peer=f"a plain list of all rows, one text changed {theirs}",
            ratio=f"{against(ours, theirs):.3f}", met=ours.median <= 0.016,
        ),
        Row(
            figure=f"sidebar opened with {count:,} jobs, until the first rows are painted ({size / 1e6:.1f} MB come)",
            goal="≤ 300 ms", ours=str(shown), peer=f"a plain list, its rows there already {peer}",
            ratio=f"{against(shown, peer):.2f}", met=shown.median <= 0.3,
        ),
    ]  # fmt: skip


def _updates(page: Page, store: Path, live: Any, changes: int) -> Sample:
    """What each of so many changes cost, one after another."""
    row = page.locator("#lepton-sidebar .lp-Job", has_text=live.spec.name)
    page.evaluate("window.costs.length = 0")
    for number in range(1, changes + 1):
        done = number % 20
        progress = {**live.telemetry["progress"], "fraction": done / 20, "done": done, "time": time.time()}
        metric = {**live.telemetry["metric"], "value": 1 / (number + 1)}
        later(store, live, _HOLDER, telemetry={"progress": progress, "metric": metric})
        row.get_by_text(f"epoch {done}/20").wait_for()
        page.wait_for_function("many => window.costs.length >= many", arg=number)
    return Sample(values=tuple(cost / 1000 for cost in page.evaluate("window.costs")))
