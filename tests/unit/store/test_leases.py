"""One writer at a time, by a lease that lapses."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from lepton_jupyter.errors import JobError
from lepton_jupyter.job import JobState
from lepton_jupyter.store import JobStore, new_holder
from lepton_jupyter.store.holders import is_gone
from tests.unit.store._rows import job, python


def test_one_holder_at_a_time(store: JobStore) -> None:
    store.add(job("abc"))
    with pytest.raises(JobError, match="was let go"):
        store.advance("abc", "a", seq=1)
    assert store.lease("abc", "a")
    assert store.lease("abc", "a")
    assert not store.lease("abc", "b")
    with pytest.raises(JobError, match="followed by another"):
        store.advance("abc", "b", seq=1)
    store.release("abc", "b")  # not its own
    assert not store.lease("abc", "b")
    store.release("abc", "a")
    assert store.lease("abc", "b")
    with pytest.raises(JobError):
        store.advance("abc", "a", seq=1)
    with pytest.raises(ValueError, match="holder"):
        store.lease("abc", "")


def test_a_lease_lapses_and_is_good_until_it_is_taken(store: JobStore) -> None:
    store.add(job("abc"))
    assert store.lease("abc", "a", seconds=0.05)
    time.sleep(0.1)
    assert store.advance("abc", "a", seq=1).seq == 1
    assert store.lease("abc", "b")
    with pytest.raises(JobError):
        store.advance("abc", "a", seq=2)


@pytest.mark.parametrize("jump", [-3600.0, -86400.0 * 365, 3600.0])
def test_a_clock_that_jumps_strands_no_job(store: JobStore, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    store.add(job("abc"))
    assert store.lease("abc", "a", seconds=30)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    assert store.lease("abc", "b", seconds=30)
    assert not store.lease("abc", "a", seconds=30)


def test_processes_that_fight_for_a_lease_have_one_winner_each_round(
    shared: JobStore, path: Path, repository: Path
) -> None:
    rounds = [f"round{number:02}" for number in range(20)]
    for name in rounds:
        shared.add(job(name))
    code = (
        "start = float(sys.argv[2])\n"
        "time.sleep(max(0, start - time.time()))\n"
        "for n in range(20):\n"
        "    if shared.lease(f'round{n:02}', str(os.getpid())):\n"
        "        shared.advance(f'round{n:02}', str(os.getpid()), state=JobState.RUNNING, cause=str(os.getpid()))\n"
        "        print(f'round{n:02}')\n"
    )
    fighters = [python(repository, code, path, time.time() + 2) for _ in range(4)]
    won = [fighter.communicate(timeout=60)[0].split() for fighter in fighters]
    assert [fighter.returncode for fighter in fighters] == [0] * 4
    assert sorted(itertools.chain(*won)) == rounds  # each round once
    for fighter, names in zip(fighters, won, strict=True):
        assert all(shared.get(name).cause == str(fighter.pid) for name in names)


def test_jobs_that_nobody_follows_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    store = JobStore(":memory:")
    followed, alone, lapsed, ended = (job() for _ in range(4))
    for one in (followed, alone, lapsed, ended):
        store.add(one)
    store.lease(followed.job_id, "me")
    store.lease(lapsed.job_id, "gone", seconds=0.0)
    store.lease(ended.job_id, "me")
    store.advance(ended.job_id, "me", state=JobState.COMPLETED)
    store.release(ended.job_id, "me")
    assert store.unwatched() == {alone.job_id, lapsed.job_id}
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31)
    assert store.unwatched() == {followed.job_id, alone.job_id, lapsed.job_id}


def test_a_holder_that_was_killed_is_not_waited_for(shared: JobStore, path: Path, repository: Path) -> None:
    shared.add(job("abc"))
    code = "from lepton_jupyter.store import new_holder\nprint(shared.lease('abc', new_holder()), flush=True)\n"
    with python(repository, code + "time.sleep(600)\n", path) as follower:
        assert follower.stdout is not None and follower.stdout.readline() == "True\n"
        assert (shared.unwatched(), shared.lease("abc", new_holder())) == (set(), False)
        follower.kill()
        follower.wait()
    assert shared.unwatched() == {"abc"}
    assert shared.lease("abc", new_holder())


@pytest.mark.parametrize(
    "holder", ["server-verdict", "4194304-deadbeef", "0123456789ab.4194304.x", ".4194304.x", "a.b.c"]
)
def test_of_a_holder_that_cannot_be_seen_the_lease_decides(store: JobStore, holder: str) -> None:
    store.add(job("abc"))
    assert store.lease("abc", holder)
    assert (store.unwatched(), store.lease("abc", new_holder())) == (set(), False)


@pytest.mark.parametrize("pid", ["0", "-1", "4194304000", "1\x00", "\u0661", "1e3", ""])
def test_a_name_that_is_no_process_is_nobody(pid: str) -> None:
    place = new_holder().partition(".")[0]
    assert not is_gone(f"{place}.{pid}.x")
    assert is_gone(f"{place}.999999999.x")
