"""A store full of jobs, as months of work leave it. In the test process and in benchmarks."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

from lepton_jupyter.job import Job, JobSpec, JobState, new_job_id
from lepton_jupyter.store import JobStore

HOUR = 3600.0
_NAMES = ("train resnet", "tune the learning rate", "evaluate", "embed the corpus", "distill", "export")
_CAUSES = ("CUDA out of memory: 3.1 of 80 GB free", "KeyError: 'label'", "the host was restarted")


def finished(number: int, folder: Path, *, now: float | None = None) -> Job:
    """The `number`-th job of a long row of them: every ninth failed, every tenth was stopped."""
    state = JobState.FAILED if number % 9 == 0 else JobState.CANCELLED if number % 10 == 0 else JobState.COMPLETED
    created = (now or time.time()) - HOUR - 60.0 * number
    values = (2.0 * math.exp(-x / 12) + 0.1 * math.sin(x + number) ** 2 for x in range(60))
    points = [[float(x), float(f"{value:.4g}")] for x, value in enumerate(values)]  # as the store has them
    telemetry = {
        "progress": {"fraction": 1.0, "done": 20, "total": 20, "unit": "epoch", "eta": 0.0, "time": created + 50},
        "metric": {"name": "loss", "value": points[-1][1], "points": points},
    }
    return Job(
        job_id=new_job_id(),
        spec=JobSpec(
            code=f"# {_NAMES[number % len(_NAMES)]}\nfit()",
            name=f"{_NAMES[number % len(_NAMES)]} {number}",
            target=f"gpu{number % 4}",
            notebook=str(folder / f"work{number % 30}.ipynb"),
            cell_id=f"cell{number}",
        ),
        state=state,
        created=created,
        started=created + 2,
        ended=created + 50,
        seq=120,
        cause=_CAUSES[number // 9 % len(_CAUSES)] if state is JobState.FAILED else "",
        telemetry=telemetry,
        written={
            "seq": 120, "state": "written", "how": "file", "words": "", "time": created + 51, "final": True,
            "saved": True,
        },
    )  # fmt: skip


def running(name: str, folder: Path, *, fraction: float = 0.3, **fields: Any) -> Job:
    """A job that runs, as its follower last saw it."""
    now = time.time()
    telemetry = {
        "progress": {
            "fraction": fraction, "done": round(20 * fraction), "total": 20, "unit": "epoch", "eta": 840.0, "time": now
        },
        "metric": {"name": "loss", "value": 0.4, "points": [[float(x), 1 / (x + 1)] for x in range(40)]},
    }  # fmt: skip
    spec = JobSpec(code="fit()", name=name, target="gpu1", notebook=str(folder / "work1.ipynb"), cell_id="live")
    job = Job(job_id=new_job_id(), spec=spec, state=JobState.RUNNING, started=now - 450, telemetry=telemetry)
    return dataclasses.replace(job, created=now - 460, **fields)


def fill(path: Path, jobs: list[Job]) -> None:
    """Put jobs into the store at `path`."""
    store = JobStore(path)
    for job in jobs:
        store.add(job)
    store.close()


def later(path: Path, job: Job, holder: str, **fields: Any) -> None:
    """News of a job, as whoever follows it writes them."""
    store = JobStore(path)
    store.lease(job.job_id, holder, 120.0)
    store.advance(job.job_id, holder, **fields)
    store.close()
