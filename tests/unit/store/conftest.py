"""Stores: on a file, in memory, shared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lepton_jupyter.store import JobStore


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    made = JobStore(":memory:" if request.param == "memory" else tmp_path / "state" / "jobs.db")
    yield made
    made.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "jobs.db"


@pytest.fixture
def shared(path: Path) -> Iterator[JobStore]:
    made = JobStore(path)
    yield made
    made.close()
