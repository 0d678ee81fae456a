"""The recorder: what runs report reaches the store, once it may be written, and nothing of it gets lost on the way."""

from __future__ import annotations

import time

from lepton_jupyter.job import Job, JobId, JobSpec, JobState, NativeId
from lepton_jupyter.remote.recorder import Recorder
from lepton_jupyter.store import JobStore


def kept(store: JobStore, name: str = "job234") -> JobId:
    job = Job(job_id=JobId(name), spec=JobSpec(code="pass", target="local"))
    store.add(job)
    return job.job_id


def test_what_is_noted_is_there_after_a_flush() -> None:
    store = JobStore(":memory:")
    recorder, job_id = Recorder(store, "me"), kept(store)
    recorder.follow(job_id)
    recorder.note(job_id, state=JobState.RUNNING, started=1.0)
    recorder.note(job_id, seq=7, native_id=NativeId("k1"))
    recorder.flush()
    job = store.get(job_id)
    assert (job.state, job.started, job.seq, job.native_id) == (JobState.RUNNING, 1.0, 7, "k1")
    recorder.close()


def test_old_news_moves_no_job_back() -> None:
    store = JobStore(":memory:")
    recorder, job_id = Recorder(store, "me"), kept(store)
    recorder.follow(job_id)
    recorder.note(job_id, state=JobState.COMPLETED, ended=2.0)
    recorder.flush()
    recorder.note(job_id, state=JobState.RUNNING, started=1.0, seq=9)
    recorder.flush()
    recorder.close()
    job = store.get(job_id)
    assert (job.state, job.started, job.seq) == (JobState.COMPLETED, None, 9)


def test_what_another_writer_holds_back_is_written_when_its_lease_is_over() -> None:
    store = JobStore(":memory:")
    recorder, job_id = Recorder(store, "me"), kept(store)
    assert store.lease(job_id, "other")
    recorder.follow(job_id)
    recorder.note(job_id, native_id=NativeId("k1"))
    recorder.note(job_id, state=JobState.RUNNING)
    time.sleep(0.5)
    recorder.flush()
    assert store.get(job_id).state is JobState.NEW
    store.release(job_id, "other")
    recorder.note(job_id, seq=3)
    recorder.close()  # writes all that is left
    job = store.get(job_id)
    assert (job.state, job.seq, job.native_id) == (JobState.RUNNING, 3, "k1")


def test_a_job_that_goes_on_is_left_to_the_next_at_once() -> None:
    store = JobStore(":memory:")
    recorder, job_id = Recorder(store, "me"), kept(store)
    recorder.follow(job_id)
    recorder.note(job_id, state=JobState.RUNNING)
    recorder.flush()
    assert not store.lease(job_id, "next")
    recorder.close()
    assert store.lease(job_id, "next")


def test_who_follows_a_job_is_its_writer_before_there_is_news() -> None:
    store = JobStore(":memory:")
    recorder, job_id = Recorder(store, "me"), kept(store)
    assert store.unwatched() == {job_id}
    recorder.follow(job_id)
    recorder.flush()
    assert store.unwatched() == set()
    recorder.close()


def test_the_last_of_those_who_follow_a_job_frees_its_lease() -> None:
    store = JobStore(":memory:")
    recorder, job_id = Recorder(store, "me"), kept(store)
    recorder.follow(job_id)
    recorder.follow(job_id)
    recorder.note(job_id, state=JobState.RUNNING)
    recorder.flush()
    recorder.leave(job_id)
    recorder.note(job_id, seq=2)
    recorder.flush()
    assert store.unwatched() == set()
    recorder.leave(job_id)
    deadline = time.monotonic() + 5
    while not store.unwatched() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store.unwatched() == {job_id}
    recorder.close()


def test_how_far_a_job_is_is_written_once_a_second_and_at_its_end() -> None:
    store = JobStore(":memory:")
    recorder, job_id = Recorder(store, "me"), kept(store)
    recorder.follow(job_id)
    asked: list[int] = []

    def make() -> dict[str, object]:
        asked.append(len(asked))
        return {"seq": len(asked), "telemetry": {"progress": {"done": len(asked)}}}

    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        recorder.later(job_id, make)
        time.sleep(0.01)
    assert 1 <= len(asked) <= 4
    recorder.later(job_id, make)
    recorder.note(job_id, state=JobState.COMPLETED, seq=99)
    recorder.flush()
    job = store.get(job_id)
    assert (job.seq, job.state, job.telemetry) == (99, JobState.COMPLETED, {"progress": {"done": len(asked)}})
    recorder.close()


def test_a_job_that_is_shown_again_keeps_what_is_known_of_its_end() -> None:
    store = JobStore(":memory:")
    recorder, job_id = Recorder(store, "me"), kept(store)
    recorder.follow(job_id)
    recorder.note(job_id, state=JobState.COMPLETED, telemetry={"progress": {"done": 9}})
    recorder.flush()
    recorder.later(job_id, lambda: {"seq": 1, "telemetry": {"progress": {"done": 1}}})
    recorder.note(job_id, state=JobState.RUNNING, telemetry={"progress": {"done": 2}})
    recorder.flush()
    assert store.get(job_id).telemetry == {"progress": {"done": 9}}
    recorder.note(job_id, state=JobState.COMPLETED, telemetry={"usage": {"cpu": 5}})  # who cancelled it knew less
    recorder.close()
    assert store.get(job_id).telemetry == {"progress": {"done": 9}, "usage": {"cpu": 5}}
