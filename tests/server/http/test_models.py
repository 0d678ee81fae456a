"""`lepton/api/models` of a server in this process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from lepton_jupyter.job import Job, JobState
from lepton_jupyter.store import JobStore

Add = Callable[..., Job]
Ask = Callable[..., Awaitable[tuple[int, Any]]]


async def test_models_of_all_jobs_come_newest_first(ask: Ask, add: Add, store: JobStore) -> None:
    old, other, new = add(created=1.0, target="gpu1"), add(created=2.0), add(created=3.0)
    for job, names in ((old, ["a"]), (new, ["b", "c"])):
        store.advance(job.job_id, "tests", telemetry={"models": [{"name": name} for name in names]})
    store.advance(other.job_id, "tests", telemetry={"metric": {"name": '"models"'}})
    store.advance(new.job_id, "tests", state=JobState.COMPLETED, ended=9.0)
    status, answer = await ask("models")
    assert status == 200
    assert answer["models"] == [
        {"name": "b", "job": new.job_id, "target": "local", "time": 9.0},
        {"name": "c", "job": new.job_id, "target": "local", "time": 9.0},
        {"name": "a", "job": old.job_id, "target": "gpu1", "time": 1.0},
    ]
