"""Sparse facts for other extensions, on Jupyter's own event system. Runs in the Jupyter server, on its event loop.

The schemas lie in ``events/``; who listens needs nothing of ours. What changes every second goes over our own stream.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_events import EventLogger

from ..job import Job
from .board import contents_path

JOB = "https://schema.lepton-jupyter.org/job/v1"
WRITTEN = "https://schema.lepton-jupyter.org/written/v1"
_SCHEMAS = {JOB: "job-v1.yaml", WRITTEN: "written-v1.yaml"}
_WRITTEN_STATES = ("written", "waiting", "gone", "failed")


class Facts:
    """Emits what became of jobs."""

    def __init__(self, events: EventLogger, root: str, log: logging.Logger) -> None:
        self._events, self._root, self._log = events, root, log
        for schema_id, name in _SCHEMAS.items():
            if schema_id not in events.schemas:
                events.register_event_schema(Path(__file__).parent / "events" / name)

    def on_job(self, before: Job | None, job: Job) -> None:
        """A job changed; only a new state, and outputs that came home, are facts."""
        path = contents_path(job.spec.notebook, self._root)
        if before is None or before.state is not job.state:
            self._emit(
                JOB,
                {
                    "job": job.job_id,
                    "state": job.state.value,
                    "before": before.state.value if before else None,
                    "target": job.spec.target,
                    "name": job.spec.title,
                    "path": path,
                    "cell_id": job.spec.cell_id or None,
                    "cause": job.cause,
                },
            )
        written = job.written
        if before is not None and written != before.written and written.get("state") in _WRITTEN_STATES:
            self._emit(
                WRITTEN,
                {
                    "job": job.job_id,
                    "path": path,
                    "state": written["state"],
                    "how": str(written.get("how") or ""),
                    "seq": int(written.get("seq") or 0),
                    "words": str(written.get("words") or ""),
                },
            )

    def _emit(self, schema_id: str, data: Mapping[str, Any]) -> None:
        self._events.emit(schema_id=schema_id, data=dict(data))
