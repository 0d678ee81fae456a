"""Jobs in the store: kept as they were, found, listed, moved forward only, watched; the names of kernels."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from lepton_jupyter.errors import IllegalMove, JobError, UnknownJob
from lepton_jupyter.job import Job, JobSpec, JobState, NativeId, Resources, new_job_id
from lepton_jupyter.store import JobStore, Stored
from tests.unit.store._rows import job

HOSTILE = [
    "",
    "a'b",
    'a"b',
    "a\nb",
    "a;DROP TABLE jobs;--",
    "日本語 🚀",
    "-rf",
    "%",
    "_",
    "a\x00b",
    "\udcff",
    "x" * 10_000,
]


def test_a_job_comes_back_as_it_was(store: JobStore) -> None:
    spec = JobSpec(
        code="x = 1\n", target="gpu1", kernel="k", name="try 1", notebook="a/b.ipynb", cell_id="c1",
        resources=Resources(gpus=2, nodes=3),
    )  # fmt: skip
    whole = Job(
        job_id=new_job_id(), spec=spec, state=JobState.RUNNING, native_id=NativeId("n"), seq=7, cause="c",
        created=1.5, started=2.5, ended=3.5,
    )  # fmt: skip
    store.add(whole)
    assert store.get(whole.job_id) == whole
    with pytest.raises(JobError, match="exists already"):
        store.add(whole)


# finding


def test_the_beginning_of_an_id_is_enough_when_only_one_begins_so(store: JobStore) -> None:
    for name in ("abc2345678", "abd2345678", "xyz2345678"):
        store.add(job(name))
    assert store.get("x").job_id == "xyz2345678"
    assert store.get(" XYZ ").job_id == "xyz2345678"
    with pytest.raises(UnknownJob, match="beginning of 2 jobs") as caught:
        store.get("ab")
    assert "abc2345678" in caught.value.hint
    assert "abd2345678" in caught.value.hint
    with pytest.raises(UnknownJob) as caught:
        store.get("abc2345679")
    assert "Did you mean abc2345678" in caught.value.hint


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_ids_are_unknown(store: JobStore, name: str) -> None:
    store.add(job("abc2345678"))
    with pytest.raises(UnknownJob):
        store.get(name)
    with pytest.raises(UnknownJob):
        store.lease(name, "me")
    assert store.count() == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_kept(store: JobStore, name: str) -> None:
    spec = JobSpec(code=name, target=name, kernel=name, name=name, notebook=name, cell_id=name)
    kept = job(spec=spec)
    store.add(kept)
    store.add(job())
    assert store.get(kept.job_id) == kept
    assert kept in store.list(notebook=name, target=name)
    store.remember_kernel(name, name, NativeId("n1"))
    assert store.kernel(name, name) == "n1"
    store.lease(kept.job_id, "me")
    store.advance(kept.job_id, "me", cause=name)
    assert store.get(kept.job_id).cause == name.encode("utf-8", "backslashreplace").decode()


@settings(deadline=None)  # a disk may be slow
@given(some.text(some.characters(codec=None), max_size=50), some.text(max_size=50))
def test_any_text_is_kept(code: str, name: str) -> None:
    store = JobStore(":memory:")
    kept = job(spec=JobSpec(code=code, target="local", name=name, notebook=name))
    store.add(kept)
    assert store.list(notebook=name) == [kept]
    store.close()


def test_list_is_newest_first_and_filtered(store: JobStore) -> None:
    for number in range(10):
        spec = JobSpec(code="", target="even" if number % 2 == 0 else "odd", notebook=f"n{number % 3}")
        state = JobState.RUNNING if number < 4 else JobState.FAILED
        store.add(job(f"job{number}", spec=spec, created=float(number), state=state))
    assert [found.job_id for found in store.list(limit=3)] == ["job9", "job8", "job7"]
    assert len(store.list(limit=0)) == store.count() == 10
    assert [found.job_id for found in store.list(notebook="n0", target="odd")] == ["job9", "job3"]
    assert store.count(states=[JobState.RUNNING, JobState.NEW]) == 4
    assert store.list(states=[JobState.NEW]) == []


# moving forward


def test_a_job_moves_forward_only(store: JobStore) -> None:
    for earlier, later in itertools.product(JobState, JobState):
        moving = job(state=earlier)
        store.add(moving)
        assert store.lease(moving.job_id, "me")
        if earlier is later or earlier.may_become(later):
            assert store.advance(moving.job_id, "me", state=later).state is later
        else:
            with pytest.raises(IllegalMove, match=f"is {earlier.value}; it cannot become {later.value}"):
                store.advance(moving.job_id, "me", state=later, seq=99, cause="no")
            assert store.get(moving.job_id) == moving


def test_news_that_arrives_twice_or_late_is_harmless(store: JobStore) -> None:
    store.add(job("abc"))
    store.lease("abc", "me")
    assert store.advance("abc", "me", seq=5, started=1.0).seq == 5
    assert store.advance("abc", "me", seq=3).seq == 5
    before = store.watch()
    assert store.advance("abc", "me", seq=5, started=1.0) == store.get("abc")
    assert store.watch() == before  # nothing changed, so no number was spent


def test_what_is_not_said_stays(store: JobStore) -> None:
    store.add(job("abc", cause="old"))
    store.lease("abc", "me")
    assert store.advance("abc", "me", native_id=NativeId("n")).cause == "old"
    assert store.advance("abc", "me", cause="").cause == ""
    done = store.advance("abc", "me", state=JobState.FAILED, ended=9.0)
    assert (done.native_id, done.state, done.ended) == ("n", JobState.FAILED, 9.0)
    assert store.get("abc") == done


def test_a_snapshot_is_the_changes_since_zero(store: JobStore) -> None:
    store.add(job("a"))
    store.add(job("b"))
    store.lease("a", "me")
    store.advance("a", "me", state=JobState.RUNNING)
    assert [(change.number, change.job.job_id) for change in store.watch()] == [(2, "b"), (3, "a")]
    assert store.watch(3) == ()


# kernels


def test_kernels_are_remembered_by_target_and_name(store: JobStore) -> None:
    assert store.kernel("t", "k") is None
    store.remember_kernel("t", "k", NativeId("1"))
    store.remember_kernel("t", "other", NativeId("2"))
    store.remember_kernel("t", "k", NativeId("3"))
    assert store.kernel("t", "k") == "3"
    store.forget_kernel("t", "k")
    store.forget_kernel("t", "k")
    assert store.kernel("t", "k") is None
    assert store.kernel("t", "other") == "2"


# what is known beside the state


def test_telemetry_comes_from_the_holder_and_what_is_not_said_stays(store: JobStore) -> None:
    store.add(job("abc"))
    with pytest.raises(JobError, match="was let go"):
        store.advance("abc", "me", telemetry={"metric": {}})
    store.lease("abc", "me")
    assert store.advance("abc", "me", telemetry={"progress": {"fraction": 0.5}}).telemetry == {
        "progress": {"fraction": 0.5}
    }
    store.advance("abc", "me", telemetry={"metric": {"name": "loss", "value": None, "points": [[0.5, 1.25]]}})
    store.advance("abc", "me", seq=3)
    done = store.advance("abc", "me", telemetry={"progress": {"fraction": 1.0}})
    assert done.telemetry == {
        "progress": {"fraction": 1.0},
        "metric": {"name": "loss", "value": None, "points": [[0.5, 1.25]]},
    }
    assert store.get("abc") == done
    before = store.last_change()
    store.advance("abc", "me", telemetry={"progress": {"fraction": 1.0}})
    assert store.last_change() == before
    with pytest.raises(ValueError, match="not JSON compliant"):  # a browser cannot read NaN
        store.advance("abc", "me", telemetry={"metric": {"value": float("nan")}})


def test_what_is_in_the_notebook_is_noted_without_a_lease(store: JobStore) -> None:
    store.add(job("abc"))
    store.lease("abc", "somebody")
    number = store.last_change()
    note = {"seq": 7, "state": "written", "how": "file", "words": "", "time": 5.0}
    assert store.note_written("abc", note).written == note
    assert store.get("abc").written == note
    assert [change.job.written for change in store.watch(number)] == [note]
    store.note_written("abc", note)
    assert store.last_change() == number + 1
    with pytest.raises(UnknownJob):
        store.note_written("ab", note)  # a beginning of an id is not enough to write


def test_the_last_change_is_where_a_watcher_goes_on(store: JobStore) -> None:
    assert store.last_change() == 0
    store.add(job("abc"))
    assert store.last_change() == store.watch()[-1].number == 1


def test_a_job_may_be_a_member_of_a_set() -> None:
    one = job("abc", telemetry={"usage": {}}, written={"seq": 1})
    assert one in {one, job("abd")}


# what is kept as text


def test_what_a_job_reports_is_read_like_a_dict_and_kept_as_text(store: JobStore) -> None:
    told = {"progress": {"fraction": 0.5}, "metric": {"points": [[1, 0.5]]}}
    added = job("abc2345678", telemetry=told)
    store.add(added)
    found = store.get("abc2345678").telemetry
    assert (found == told, told == found, {**found} == told, len(found), repr(found)) == (
        True,
        True,
        True,
        2,
        repr(told),
    )
    assert found != {"progress": {}} and found != 7
    assert found == store.get("abc2345678").telemetry
    assert isinstance(found, Stored) and found.text == json.dumps(told, separators=(",", ":"))
    again = job("abd2345678", telemetry=found)
    store.add(again)
    assert store.get("abd2345678") == again
