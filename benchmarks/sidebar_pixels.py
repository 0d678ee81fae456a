"""From a print on the host to its pixels in the notebook: on a plain local kernel, on `local` and through `ssh`.

All clocks are this machine's. The cell prints the time; the page notes when it has painted that line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lepton_jupyter.config import Config
from lepton_jupyter.remote import Dispatcher
from lepton_jupyter.store import JobStore

from ._bed import Bed
from ._browser import site
from ._table import Row, Sample, against

if TYPE_CHECKING:
    from tests.ui._page import NotebookPage

_CELL = """{magic}
import time
for n in range({count}):
    time.sleep(0.1)
    print(f"at {{time.time() * 1000:.3f}}", flush=True)
"""
#: For each line that comes into the cell: how old it was when the frame with it was painted, in milliseconds.
_WATCH = """number => {
    window.ages = [];
    let seen = 0;
    const area = document.querySelectorAll(".jp-Notebook .jp-CodeCell")[number].querySelector(".jp-OutputArea");
    new MutationObserver(() => {
        const lines = area.innerText.match(/at [0-9.]+(?=\\n|$)/g) ?? [];
        const fresh = lines.slice(seen).map(line => Number(line.slice(3)));
        seen = lines.length;
        if (fresh.length) requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = () => fresh.forEach(at =>
                window.ages.push(performance.timeOrigin + performance.now() - at));
            channel.port2.postMessage(null);
        });
    }).observe(area, { subtree: true, childList: true, characterData: true });
}"""


def pixels(bed: Bed) -> list[Row]:
    count, rounds = (5, 1) if bed.quick else (60, 3)
    folder = bed.new_folder()
    config = bed.sshd.config_for(folder)
    (folder / "lepton.toml").write_text(
        f'[targets.local]\nkind = "local"\nroot = {json.dumps(str(folder / "here"))}\n'
        f'[targets.ssh]\nkind = "ssh"\nhost = "{bed.sshd.alias}"\nssh_config = {json.dumps(str(config))}\n'
        f"python = {json.dumps(sys.executable)}\nroot = {json.dumps(str(folder / 'there'))}\n"
    )
    magics = {"plain": "", "local": "%%lepton_train --on local", "ssh": "%%lepton_train --on ssh"}
    ages: dict[str, list[float]] = {name: [] for name in magics}
    with site(bed, folder) as lab:
        warm = [_CELL.format(magic=magic, count=1) for magic in magics.values()]
        page = lab.open("pixels", *warm)
        page.run_all()
        page.finish()
        for _ in range(rounds):  # in turn, so that the machine's moods fall on all alike
            for number, (name, magic) in enumerate(magics.items(), 1):
                ages[name] += _ages(page, number, _CELL.format(magic=magic, count=count), count)
    _stop_kernels(folder)
    samples = {name: Sample(values=tuple(age / 1000 for age in found)) for name, found in ages.items()}
    peer = f"a plain local kernel {samples['plain']}"
    return [
        Row(
            figure=f"from a print on the host to its pixels in JupyterLab, `{name}`", goal="",
            ours=str(samples[name]), peer=peer, ratio=f"{against(samples[name], samples['plain']):.2f}",
        )
        for name in ("local", "ssh")
    ]  # fmt: skip


def _stop_kernels(folder: Path) -> None:
    """They outlive the notebook on purpose; one that is killed leaves its sockets behind."""
    store = JobStore(folder / "state" / "jobs.db")
    dispatcher = Dispatcher(Config.load(folder / "lepton.toml"), store)
    for target, kernel in {(job.spec.target, job.native_id) for job in store.list(limit=0) if job.native_id}:
        dispatcher.target(target).stop(kernel)
    dispatcher.close()


def _ages(page: NotebookPage, number: int, source: str, count: int) -> list[float]:
    """How old each line was when it was to be seen."""
    page.run(number, "pass")  # leaves the cell without outputs
    page.finish()
    page.page.evaluate(_WATCH, number)
    page.run(number, source)
    page.page.wait_for_function("count => window.ages.length >= count", arg=count)
    page.finish()
    return [float(age) for age in page.page.evaluate("window.ages")]
