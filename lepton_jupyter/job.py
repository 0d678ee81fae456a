"""The words for work: what was asked (JobSpec), one run of it (Job) and how far it is (JobState).

Runs in the notebook's kernel, the server and the command line. Plain frozen data, no behaviour beyond its own rules.
"""

from __future__ import annotations

import enum
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NewType

JobId = NewType("JobId", str)
NativeId = NewType("NativeId", str)

#: Letters and digits that cannot be mistaken for one another when typed from a screen.
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"


def new_job_id() -> JobId:
    """A new id: 10 characters (49 bits), unpredictable, easy to type; never derived from the clock."""
    return JobId("".join(secrets.choice(_ALPHABET) for _ in range(10)))


class JobState(enum.Enum):
    """How far a job is. A job only moves down this list; the last three are final."""

    NEW = "NEW"
    QUEUED = "QUEUED"
    STAGING_IN = "STAGING_IN"
    RUNNING = "RUNNING"
    STAGING_OUT = "STAGING_OUT"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def rank(self) -> int:
        """Position in the list; the final states share the last one."""
        return min(list(JobState).index(self), 5)

    @property
    def final(self) -> bool:
        return self.rank == 5

    def may_become(self, later: JobState) -> bool:
        """Whether the move is legal: strictly forward, and never out of a final state."""
        return not self.final and later.rank > self.rank


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What a kernel needs from its target. Later targets (Slurm, Ray, clouds) read more of it."""

    gpus: int = 0
    nodes: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """What was asked: one cell, and where it shall run."""

    code: str
    target: str
    kernel: str = ""  # name of the kernel on the target; "" = the notebook's own
    name: str = ""  # what the user calls it; shown in tables
    notebook: str = ""  # path of the notebook, "" outside one
    cell_id: str = ""  # nbformat cell id, "" where the front end does not tell
    resources: Resources = field(default_factory=Resources)
    cargo: str = ""  # digest of what the cell brings along and shall leave (remote/cargo.py); "" = nothing

    @property
    def title(self) -> str:
        """`name`, else the cell's first comment, else its first line; at most 60 characters."""
        lines = [line.strip() for line in self.code.splitlines() if line.strip()]
        comments = [line.lstrip("# ") for line in lines if line.startswith("#") and line.strip("# ")]
        return (self.name or next(iter(comments + lines), "(empty cell)"))[:60]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One run of one cell, as the store knows it."""

    job_id: JobId
    spec: JobSpec
    state: JobState = JobState.NEW
    native_id: NativeId = NativeId("")  # the kernel it runs on, by the target's own name
    seq: int = 0  # last event shown or saved
    cause: str = ""  # one line: why it failed or was cancelled
    created: float = field(default_factory=time.time)  # seconds since the epoch
    started: float | None = None
    ended: float | None = None
    telemetry: Mapping[str, Any] = field(default_factory=dict, hash=False)  # progress, metric, usage: what is known
    written: Mapping[str, Any] = field(default_factory=dict, hash=False)  # what of its outputs is in its notebook
