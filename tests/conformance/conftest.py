"""Targets for the conformance tests: one local, one behind a real sshd, and the plain kernel to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.frontend import Cell, FrontEnd, front_end
from tests.conformance.places import TARGETS, Place, make_place
from tests.fakes.sshd import Sshd


class Notebook:
    """A front end whose cells go to one place. The same code runs on a plain kernel and on a target."""

    def __init__(self, place: Place, end: FrontEnd) -> None:
        self.place, self.end = place, end
        end.run_well("%load_ext lepton_jupyter" if place.target else "None")

    def start(self, code: str, *, answers: list[str] | None = None, flags: str = "") -> Cell:
        """Run a cell at the place; returns at once."""
        magic = self.place.magic.replace("\n", f" {flags}\n") if flags else self.place.magic
        return self.end.start(magic + code, answers=answers)

    def run(self, code: str, *, answers: list[str] | None = None, flags: str = "") -> Cell:
        """Run a cell at the place to its end."""
        cell = self.start(code, answers=answers, flags=flags)
        cell.reply()
        return cell

    def job_id(self) -> str:
        """The newest job of this place."""
        dispatcher = self.place.dispatcher()
        try:
            return max(dispatcher.store.list(limit=0), key=lambda job: job.created).job_id
        finally:
            dispatcher.close()


@pytest.fixture(params=["plain", *TARGETS])
def notebook(request: pytest.FixtureRequest, tmp_path: Path, shared_sshd: Sshd) -> Iterator[Notebook]:
    """A new notebook on a plain kernel and on every target: what is asserted of it must hold on all."""
    place = make_place(tmp_path, request.param, shared_sshd)
    with front_end(place.folder, place.env) as end:
        yield Notebook(place, end)
    place.end()


@pytest.fixture(params=TARGETS)
def remote_notebook(request: pytest.FixtureRequest, tmp_path: Path, shared_sshd: Sshd) -> Iterator[Notebook]:
    """A new notebook on every target."""
    place = make_place(tmp_path, request.param, shared_sshd)
    with front_end(place.folder, place.env) as end:
        yield Notebook(place, end)
    place.end()
