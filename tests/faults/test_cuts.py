"""A link that is cut while a cell prints 10,000 numbered outputs: nothing lost, nothing twice, saved alike.

Three cells run in real notebooks (nbclient), the others in this process; all at the same time, because cutting is
mostly waiting. What is saved is compared byte by byte with what is saved when nobody disturbs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from lepton_jupyter.outputs import Output
from tests.fakes.proxy import Proxy
from tests.fakes.sshd import Sshd
from tests.faults._road import (
    Client,
    check_account,
    check_lines,
    counting_cell,
    end_kernels,
    far,
    in_threads,
    run_notebook,
    until,
    write_config,
)

LINES = 10_000
MARKS = (1500, 3500, 5500)
#: The cell goes on only after the last fault, so that its last outputs arrive live on a link that was cut.
GATE = 9000


def drop(proxy: Proxy, seconds: float) -> None:
    """A reset, and nobody home for a while."""
    proxy.cut_for(seconds)


def stall(proxy: Proxy, seconds: float) -> None:
    """A cable pulled: nothing arrives, and nobody is told."""
    proxy.stall_for(seconds)


def half_close(proxy: Proxy, seconds: float) -> None:
    """We see the end of the stream, the host does not; nobody home for a while."""
    proxy.refuse()
    proxy.half_close()
    time.sleep(seconds)
    proxy.accept()


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """What happens to the link of one cell at the marks, in turn."""

    notebook: bool
    faults: tuple[Callable[[Proxy, float], None], ...]
    seconds: float


SCENARIOS = {
    "notebook, undisturbed": Scenario(notebook=True, faults=(), seconds=0),
    "notebook, three cuts of 4 s": Scenario(notebook=True, faults=(half_close, drop, stall), seconds=4),
    "notebook, dropped for 30 s": Scenario(notebook=True, faults=(drop,), seconds=30),
    "undisturbed": Scenario(notebook=False, faults=(), seconds=0),
    "three cuts of 1 s": Scenario(notebook=False, faults=(drop, stall, half_close), seconds=1),
    "stalled for 30 s": Scenario(notebook=False, faults=(stall,), seconds=30),
    "half closed for 30 s": Scenario(notebook=False, faults=(half_close,), seconds=30),
}


@pytest.fixture(scope="module")
def saved(shared_sshd: Sshd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Output]]]:
    """The saved outputs of each scenario."""
    folder = tmp_path_factory.mktemp("cuts")
    places = {name: folder / f"t{number}" for number, name in enumerate(SCENARIOS)}
    proxies = {name: Proxy(shared_sshd.address, shared_sshd.port) for name in SCENARIOS}
    targets = {place.name: far(shared_sshd, place, port=proxies[name].port) for name, place in places.items()}
    client = Client(folder / "client", targets)
    config = write_config(folder / "lepton.toml", targets)
    cell = counting_cell(LINES, marks=MARKS, gate=GATE)

    def run(name: str) -> list[Output]:
        if SCENARIOS[name].notebook:
            return run_notebook(places[name], config, f"%%lepton_train --on {places[name].name}\n{cell}")[0]
        view = client.done(cell, places[name].name)
        check_account(view.events, LINES)
        return view.outputs

    def disturb(name: str) -> None:
        for fault, mark in zip(SCENARIOS[name].faults, MARKS, strict=False):
            until((places[name] / f"at-{mark}").exists, f"{name}: line {mark} is reached")
            fault(proxies[name], SCENARIOS[name].seconds)
        (places[name] / "go").touch()

    runs = [lambda name=name: run(name) for name in SCENARIOS]
    faults = [lambda name=name: disturb(name) for name in SCENARIOS]
    try:
        yield dict(zip(SCENARIOS, in_threads(*runs, *faults), strict=False))
    finally:
        client.close()
        end_kernels(shared_sshd.root)
        for proxy in proxies.values():
            proxy.close()


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_cut_link_loses_no_output_and_repeats_none(name: str, saved: dict[str, list[Output]]) -> None:
    check_lines(saved[name], LINES)
    assert json.dumps(saved[name], sort_keys=True) == json.dumps(saved["undisturbed"], sort_keys=True)
