"""What the tests of the store share: a job, a look into its file, another process that uses it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from lepton_jupyter.job import Job, JobId, JobSpec, new_job_id


def job(job_id: str = "", **fields: object) -> Job:
    spec = JobSpec(code="print(1)", target="gpu1")
    return dataclasses.replace(Job(job_id=JobId(job_id or new_job_id()), spec=spec), **fields)  # type: ignore[arg-type]


def sql(path: Path, statement: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        return db.execute(statement).fetchall()


def python(repository: Path, code: str, *argv: object) -> subprocess.Popen[str]:
    start = "import sys, os, time\nfrom pathlib import Path\nfrom lepton_jupyter.job import *\n"
    start += "from lepton_jupyter.store import JobStore\nshared = JobStore(Path(sys.argv[1]))\n"
    return subprocess.Popen(
        [sys.executable, "-c", start + code, *map(str, argv)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
