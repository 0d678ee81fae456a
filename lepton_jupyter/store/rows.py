"""A job as a row of the store's table, and back. Runs wherever the store does.

A list of thousands of jobs is read at once, so what is the same for every row is worked out once.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..job import Job, JobId, JobSpec, JobState, NativeId, Resources
from .stored import Stored

#: What `to_jobs` wants, in this order, and the number of the job's last change behind it.
COLUMNS = "job_id, spec, state, native_id, seq, cause, created, started, ended, telemetry, written, change"

_SPEC = frozenset(field.name for field in dataclasses.fields(JobSpec)) - {"resources"}
_RESOURCES = frozenset(field.name for field in dataclasses.fields(Resources))
_DEFAULT = dataclasses.asdict(Resources())
_STATES = {state.value: state for state in JobState}


def to_row(job: Job, change: int) -> dict[str, Any]:
    """Every column of a new job's row, by name."""
    return {
        "job_id": text(job.job_id),
        "spec": spec_as_json(job.spec),
        "target": text(job.spec.target),
        "notebook": text(job.spec.notebook),
        "state": job.state.value,
        "native_id": text(job.native_id),
        "seq": job.seq,
        "cause": text(job.cause),
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "telemetry": as_json(job.telemetry),
        "written": as_json(job.written),
        "change": change,
    }


def spec_as_json(spec: JobSpec) -> str:
    """The spec as a column keeps it. (`dataclasses.asdict` copies each value deeply, which takes ten times as long.)"""
    fields: dict[str, Any] = {name: getattr(spec, name) for name in _SPEC}
    return json.dumps({**fields, "resources": {name: getattr(spec.resources, name) for name in _RESOURCES}})


def to_jobs(rows: Sequence[tuple[Any, ...]]) -> list[Job]:
    """The jobs of `rows`; thousands in one go, since what takes the time is beginning to read JSON."""
    specs = json.loads(f"[{','.join(row[1] for row in rows)}]")
    return [_job(row, fields) for row, fields in zip(rows, specs, strict=True)]


def _job(row: tuple[Any, ...], fields: dict[str, Any]) -> Job:
    job_id, _, state, native_id, seq, cause, created, started, ended, telemetry, written, _ = row
    return Job(
        job_id=JobId(job_id), spec=_spec(fields), state=_STATES[state], native_id=NativeId(native_id),
        seq=seq, cause=cause, created=created, started=started, ended=ended,
        telemetry={} if telemetry == "{}" else Stored(telemetry),
        written={} if written == "{}" else Stored(written),
    )  # fmt: skip


def newest_first(row: tuple[Any, ...]) -> tuple[float, int]:
    """The key to sort rows by."""
    return -row[6], -row[-1]


def where(notebook: str, target: str, states: Collection[JobState]) -> tuple[str, tuple[str, ...]]:
    """The WHERE clause for what is not empty, and its values."""
    tests: dict[str, tuple[str, ...]] = {}
    if notebook:
        tests["notebook = ?"] = (text(notebook),)
    if target:
        tests["target = ?"] = (text(target),)
    if states:
        tests[f"state IN ({', '.join('?' * len(states))})"] = tuple(state.value for state in states)
    clause = f" WHERE {' AND '.join(tests)}" if tests else ""
    return clause, tuple(value for values in tests.values() for value in values)


def as_json(value: Mapping[str, Any]) -> str:
    """JSON that every reader takes, so without NaN. Raises ValueError for one, TypeError for what is no JSON."""
    if isinstance(value, Stored):
        return value.text
    return json.dumps(dict(value), allow_nan=False, separators=(",", ":"))


def text(value: str) -> str:
    """Text as SQLite can keep it: half of a surrogate pair (a file name that is not UTF-8) is written as an escape."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _spec(fields: dict[str, Any]) -> JobSpec:
    """A spec that another release wrote: what it did not know has its default, what we do not know is left out."""
    resources = fields.pop("resources", _DEFAULT)
    if resources == _DEFAULT and fields.keys() == _SPEC:
        return JobSpec(**fields)
    needed = {key: value for key, value in resources.items() if key in _RESOURCES}
    return JobSpec(**{key: value for key, value in fields.items() if key in _SPEC}, resources=Resources(**needed))
