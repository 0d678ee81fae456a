"""Every case shows the same under %%lepton_train, on every target, as on a plain kernel."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from lepton_jupyter.outputs import Fold
from tests.conformance import notebooks
from tests.conformance.cases import all_cases
from tests.conformance.compare import Normal, merged
from tests.conformance.notebooks import Ran, Shown
from tests.conformance.places import TARGETS, make_place
from tests.fakes.sshd import Sshd

CASES = all_cases()
_SENT = re.compile(r"^lepton: sent: 1 module \(\d+ B\)\n", re.MULTILINE)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, shared_sshd: Sshd) -> Ran:
    """All cases on an ordinary ipykernel."""
    return notebooks.run(CASES, make_place(tmp_path_factory.mktemp("conformance"), "plain", shared_sshd))


@pytest.fixture(scope="session", params=TARGETS)
def remote(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared_sshd: Sshd) -> Ran:
    """All cases under %%lepton_train on one target."""
    place = make_place(tmp_path_factory.mktemp("conformance"), request.param, shared_sshd)
    ran = notebooks.run(CASES, place)
    place.end()
    notebooks.add_events(ran, place)
    return ran


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_a_cell_shows_the_same(name: str, plain: Ran, remote: Ran) -> None:
    here, there = Normal(plain.folder), Normal(remote.folder)
    for expected, found in zip(plain.cells[name], remote.cells[name], strict=True):
        assert there.outputs(_own(found.outputs)) == here.outputs(expected.outputs), found.source
        assert found.count == expected.count
        assert found.reply["status"] == expected.reply["status"]
        assert there.value(found.reply.get("traceback")) == here.value(expected.reply.get("traceback"))
        assert there.value(_payload(found)) == here.value(_payload(expected, magic="%%lepton_train --on there\n"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_shows_what_it_is_about(case: Any, plain: Ran) -> None:
    cells = plain.cells[case.name]
    shown = [[merged(cell.outputs), cell.reply] for cell in cells]
    assert any(re.search(case.shows, json.dumps(shown, ensure_ascii=ascii_only)) for ascii_only in (True, False))


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_what_is_saved_is_the_journal_folded(name: str, remote: Ran) -> None:
    """What a later cell shows under the display id of an earlier one belongs to what is folded."""
    for cell in remote.cells[name]:
        fold = Fold()
        for event in cell.events:
            fold.add(event)
        for content in remote.displays_after(cell):
            fold.add_message("update_display_data", content)
        normal = Normal(remote.folder)
        assert normal.outputs(fold.outputs()) == normal.outputs(_own(cell.outputs)), cell.source
        assert [event.seq for event in cell.events] == list(range(1, len(cell.events) + 1))


def test_big_outputs_take_little_memory(plain: Ran, remote: Ran) -> None:
    """Among the outputs are some of 50 MB; a few copies of one are in the notebook's kernel, none is in the agent."""
    assert remote.peaks["notebook"] < 600_000_000
    assert remote.peaks["agent"] < 400_000_000


def test_the_widgets_saved_in_the_notebook_are_the_same(plain: Ran, remote: Ran) -> None:
    expected, found = Normal(plain.folder).value(plain.widgets), Normal(remote.folder).value(remote.widgets)
    (states,) = expected.values()
    assert len(states["state"]) > 50
    assert found == expected


def _own(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the cell itself showed. Here a module that one cell writes lies beside the notebook, too, so that it goes
    along with the next cell that imports it, and one line says so.
    """
    shown = [
        {**output, "text": _SENT.sub("", output["text"])} if output.get("name") == "stderr" else output
        for output in outputs
    ]
    return [output for output in shown if output.get("text") != ""]


def _payload(cell: Shown, magic: str = "") -> list[dict[str, Any]]:
    """What the cell asked of the front end; text that takes its place (%load) goes where the cell went, by `magic`."""
    payload = [dict(one) for one in cell.reply.get("payload", [])]
    return [{**one, "text": magic + one["text"]} if one.get("replace") else one for one in payload]
