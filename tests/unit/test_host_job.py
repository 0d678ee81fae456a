"""A job begins on its host: in a folder that was made ahead, or in one that is made then."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from lepton_jupyter.agent.host_job import Spare, new_journal
from lepton_jupyter.agent.journal import Journal
from lepton_jupyter.errors import HostStorage, IllegalMove

ABOUT = {"kernel": "kern1", "name": "a cell"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("jobs", "kernels/kern1"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def spare(root: Path) -> Spare:
    return Spare(str(root / "kernels" / "kern1"))


def begin(root: Path, spare: Spare, job_id: str) -> Journal:
    return new_journal(str(root), job_id, threading.Condition(), ABOUT, spare)


def stored(root: Path, job_id: str) -> list[str]:
    journal = Journal(str(root / "jobs" / job_id / "journal"), job_id, threading.Condition())
    return [event.fields.get("state", event.event) for event in journal.events()]


def test_jobs_begin_with_and_without_a_folder_made_ahead(root: Path, spare: Spare) -> None:
    spare.make()
    spare.make()  # there is one already
    inode = (root / "kernels" / "kern1" / "next").stat().st_ino
    first, second = begin(root, spare, "first"), begin(root, spare, "second")
    assert (root / "jobs" / "first").stat().st_ino == inode
    assert not (root / "kernels" / "kern1" / "next").exists()
    for journal in (first, second):
        journal.append("reply", {})
        journal.close()
    assert stored(root, "first") == stored(root, "second") == ["QUEUED", "reply"]
    assert (root / "jobs" / "first").stat().st_mode & 0o077 == 0
    assert (root / "jobs" / "first" / "journal").stat().st_mode & 0o077 == 0


def test_an_id_that_is_taken_is_refused_and_its_job_left_alone(root: Path, spare: Spare) -> None:
    spare.make()
    begin(root, spare, "first").append("reply", {})
    spare.make()
    with pytest.raises(IllegalMove, match="first"):
        begin(root, spare, "first")
    assert stored(root, "first") == ["QUEUED", "reply"]
    spare.make()
    begin(root, spare, "second")
    assert stored(root, "second") == ["QUEUED"]


def test_a_folder_that_somebody_removed_is_no_obstacle(root: Path, spare: Spare) -> None:
    spare.make()
    shutil.rmtree(root / "kernels")
    begin(root, spare, "first")
    assert stored(root, "first") == ["QUEUED"]
    shutil.rmtree(root)
    spare.make()
    assert not root.exists()
    with pytest.raises(HostStorage):
        begin(root, spare, "second")
