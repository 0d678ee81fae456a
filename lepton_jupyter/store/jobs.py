"""What the store knows and does: jobs, who may write them, their changes, and the names of kernels."""

from __future__ import annotations

import dataclasses
import difflib
import sqlite3
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import state_dir
from ..errors import IllegalMove, JobError, UnknownJob
from ..job import Job, JobId, JobState, NativeId
from .database import Database
from .holders import is_gone
from .rows import COLUMNS, as_json, newest_first, spec_as_json, text, to_jobs, to_row, where

#: A lease that ends this much later than it was given for is the trace of a clock that jumped back.
_CLOCK_SLACK = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What became of a job, and the number of that change."""

    number: int
    job: Job


class JobStore:
    """Jobs and kernels in the file `path` (made with mode 0600, in a folder of mode 0700), or in ``":memory:"``.

    Raises LeptonError when the file cannot be used: no SQLite file, written by a newer version, disk full, busy.
    """

    def __init__(self, path: Path | str) -> None:
        self._database = Database(path)

    @classmethod
    def load(cls) -> JobStore:
        """The user's own store: ``jobs.db`` in the state folder. Raises ConfigError, LeptonError."""
        return cls(state_dir() / "jobs.db")

    def close(self) -> None:
        """Let go of the file. Closing twice is harmless; the next use opens it again."""
        self._database.close()

    # jobs

    def add(self, job: Job) -> None:
        """Keep `job`. Raises JobError when its id is taken."""
        with self._database.write() as db:
            if db.execute("SELECT 1 FROM jobs WHERE job_id = ?", (text(job.job_id),)).fetchone():
                raise JobError(f"the job {job.job_id} exists already")
            row = to_row(job, _next_change(db))
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            db.execute(f"INSERT INTO jobs ({names}) VALUES ({values})", row)  # noqa: S608

    def get(self, job_id: str) -> Job:
        """The job of this id, or the only one whose id begins so. Raises UnknownJob, which names near ones."""
        with self._database.read() as db:
            return _find(db, job_id)

    def list(
        self, *, notebook: str = "", target: str = "", states: Collection[JobState] = (), limit: int = 100
    ) -> list[Job]:
        """The newest `limit` jobs (0 = all), newest first; `count` tells how many there are in all."""
        clause, values = where(notebook, target, states)
        query = f"SELECT {COLUMNS} FROM jobs{clause}"  # noqa: S608
        with self._database.read() as db:
            if limit:
                rows = db.execute(f"{query} ORDER BY created DESC, change DESC LIMIT ?", (*values, limit)).fetchall()
            else:  # reading the table as it lies and sorting here takes a quarter of the time
                rows = sorted(db.execute(query, values), key=newest_first)
        return to_jobs(rows)

    def count(self, *, notebook: str = "", target: str = "", states: Collection[JobState] = ()) -> int:
        """How many jobs `list` has with limit 0."""
        clause, values = where(notebook, target, states)
        with self._database.read() as db:
            return int(db.execute(f"SELECT count(*) FROM jobs{clause}", values).fetchone()[0])  # noqa: S608

    def watch(self, after: int = 0) -> tuple[Change, ...]:
        """All jobs that changed since change number `after` as they are now, in the order of their last changes."""
        with self._database.read() as db:
            query = f"SELECT {COLUMNS} FROM jobs WHERE change > ? ORDER BY change"  # noqa: S608
            rows = db.execute(query, (after,)).fetchall()
        return tuple(Change(number=row[-1], job=job) for row, job in zip(rows, to_jobs(rows), strict=True))

    def last_change(self) -> int:
        """The number of the newest change: `watch` of it has nothing yet."""
        with self._database.read() as db:
            return int(db.execute("SELECT last FROM changes").fetchone()[0])

    def advance(
        self,
        job_id: str,
        holder: str,
        *,
        state: JobState | None = None,
        seq: int | None = None,
        cause: str | None = None,
        native_id: NativeId | None = None,
        started: float | None = None,
        ended: float | None = None,
        telemetry: Mapping[str, Any] | None = None,
    ) -> Job:
        """Move a job forward, in one transaction, and return it as it is then. What is None stays.

        Of `telemetry` what it has replaces what was known (progress, metric, usage), and the rest stays.
        The state it has already is no move; a lower `seq` than it has is ignored. So news that arrives twice is
        harmless. A lease that lapsed is still good for as long as nobody else took it.
        Raises UnknownJob; JobError when another holds the lease (or nobody does); IllegalMove for a state that lies
        behind. Then nothing is changed.
        """
        with self._database.write() as db:
            old = _find(db, job_id, exact=True)
            _check_holder(db, old.job_id, holder)
            if state is not None and state is not old.state and not old.state.may_become(state):
                raise IllegalMove(
                    f"the job {old.job_id} is {old.state.value}; it cannot become {state.value}",
                    hint="A job only moves forward; run the cell again for a new one.",
                )
            new = dataclasses.replace(
                old,
                state=state or old.state,
                seq=max(old.seq, seq or 0),
                cause=old.cause if cause is None else text(cause),
                native_id=old.native_id if native_id is None else native_id,
                started=old.started if started is None else started,
                ended=old.ended if ended is None else ended,
                telemetry={**old.telemetry, **(telemetry or {})},
            )
            if new != old:
                db.execute(
                    "UPDATE jobs SET state = ?, native_id = ?, seq = ?, cause = ?, started = ?, ended = ?,"
                    " telemetry = ?, change = ? WHERE job_id = ?",
                    (new.state.value, new.native_id, new.seq, new.cause, new.started, new.ended,
                     as_json(new.telemetry), _next_change(db), new.job_id),
                )  # fmt: skip
            return new

    def note_written(self, job_id: str, written: Mapping[str, Any]) -> Job:
        """Note what of the job's outputs is in its notebook, and how it got there; the job as it is then.

        Needs no lease: whoever writes notebooks is not who follows jobs. Raises UnknownJob.
        """
        with self._database.write() as db:
            old = _find(db, job_id, exact=True)
            new = dataclasses.replace(old, written=dict(written))
            if new != old:
                db.execute(
                    "UPDATE jobs SET written = ?, change = ? WHERE job_id = ?",
                    (as_json(new.written), _next_change(db), new.job_id),
                )
            return new

    def move_notebooks(self, paths: Mapping[str, str]) -> None:
        """The notebooks of these jobs lie elsewhere now: `paths` has the new path by job id. Raises UnknownJob.

        Needs no lease: whoever sees a notebook being moved is not who follows jobs.
        """
        with self._database.write() as db:
            for job_id, path in paths.items():
                old = _find(db, job_id, exact=True)
                if old.spec.notebook != path:
                    spec = dataclasses.replace(old.spec, notebook=path)
                    db.execute(
                        "UPDATE jobs SET notebook = ?, spec = ?, change = ? WHERE job_id = ?",
                        (text(path), spec_as_json(spec), _next_change(db), old.job_id),
                    )

    # leases

    def lease(self, job_id: str, holder: str, seconds: float = 30.0) -> bool:
        """Become (or stay) the job's one writer for `seconds` from now. False while another's lease is good: it has
        not lapsed, and its holder (`new_holder`) is not seen to be dead.

        Raises UnknownJob.
        """
        if not holder:
            raise ValueError("a lease needs a holder")
        with self._database.write() as db:
            found = _find(db, job_id, exact=True).job_id
            holds, length, until = db.execute(
                "SELECT holder, lease_seconds, lease_until FROM jobs WHERE job_id = ?", (found,)
            ).fetchone()
            now = time.time()
            good = now < until <= now + length + _CLOCK_SLACK
            if holds not in ("", holder) and good and not is_gone(holds):
                return False
            db.execute(
                "UPDATE jobs SET holder = ?, lease_seconds = ?, lease_until = ? WHERE job_id = ?",
                (holder, seconds, now + seconds, found),
            )
            return True

    def unwatched(self) -> set[JobId]:
        """The jobs that are not final and that nobody follows at present: what is known of them may be old."""
        now, final = time.time(), [state.value for state in JobState if state.final]
        with self._database.read() as db:
            rows = db.execute(
                "SELECT job_id, CASE WHEN ? < lease_until AND lease_until <= ? + lease_seconds THEN holder ELSE '' END"
                " FROM jobs WHERE state NOT IN (?, ?, ?)",
                (now, now + _CLOCK_SLACK, *final),
            ).fetchall()
        gone = {"", *filter(is_gone, {holder for _, holder in rows})}
        return {JobId(job_id) for job_id, holder in rows if holder in gone}

    def release(self, job_id: str, holder: str) -> None:
        """Give the lease back at once; nothing happens when `holder` has it no longer."""
        with self._database.write() as db:
            db.execute(
                "UPDATE jobs SET holder = '', lease_seconds = 0, lease_until = 0 WHERE job_id = ? AND holder = ?",
                (text(job_id), holder),
            )

    # kernels

    def kernel(self, target: str, name: str) -> NativeId | None:
        """The remote kernel of that name on that target, as remembered; whether it lives is for the target to say."""
        with self._database.read() as db:
            row = db.execute(
                "SELECT native_id FROM kernels WHERE target = ? AND name = ?", (text(target), text(name))
            ).fetchone()
        return NativeId(row[0]) if row else None

    def remember_kernel(self, target: str, name: str, native_id: NativeId) -> None:
        """From now on `name` on `target` is `native_id`."""
        with self._database.write() as db:
            db.execute("INSERT OR REPLACE INTO kernels VALUES (?, ?, ?)", (text(target), text(name), native_id))

    def forget_kernel(self, target: str, name: str) -> None:
        """There is no such kernel any more."""
        with self._database.write() as db:
            db.execute("DELETE FROM kernels WHERE target = ? AND name = ?", (text(target), text(name)))


def _find(db: sqlite3.Connection, job_id: str, exact: bool = False) -> Job:
    wanted = text(job_id.strip())
    query = f"SELECT {COLUMNS} FROM jobs WHERE job_id = ?"  # noqa: S608
    row = db.execute(query, (wanted,)).fetchone()
    if row:
        return to_jobs([row])[0]
    ids = [found[0] for found in db.execute("SELECT job_id FROM jobs ORDER BY created DESC")]
    begin = [found for found in ids if wanted and found.startswith(wanted.lower())]
    if len(begin) == 1 and not exact:
        return to_jobs([db.execute(query, (begin[0],)).fetchone()])[0]
    if len(begin) > 1 and not exact:
        shown = ", ".join(begin[:8]) + (" …" if len(begin) > 8 else "")
        raise UnknownJob(f"{job_id!r} is the beginning of {len(begin)} jobs", hint=f"Say more of it: {shown}")
    close = difflib.get_close_matches(wanted.lower(), ids[:1000], n=3)
    guess = f"Did you mean {' or '.join(close)}? " if close else ""
    raise UnknownJob(f"there is no job {job_id!r}", hint=f"{guess}%lepton_jobs --all lists every one.")


def _check_holder(db: sqlite3.Connection, job_id: JobId, holder: str) -> None:
    holds = db.execute("SELECT holder FROM jobs WHERE job_id = ?", (job_id,)).fetchone()[0]
    if not holder or holds != holder:
        who = "is followed by another process" if holds else "was let go"
        raise JobError(f"the job {job_id} {who}; it cannot be advanced from here")


def _next_change(db: sqlite3.Connection) -> int:
    db.execute("UPDATE changes SET last = last + 1")
    return int(db.execute("SELECT last FROM changes").fetchone()[0])
