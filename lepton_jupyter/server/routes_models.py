"""``lepton/api/models``: the compressed models of all jobs. Runs in the Jupyter server."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from ..store import JobStore, Stored
from .handlers import LeptonHandler


class ModelsHandler(LeptonHandler):
    """``models``: each with the job that made it, newest first. Its files are among the artifacts of that job."""

    @authenticated
    @authorized
    async def get(self) -> None:
        self.answer({"models": await self.parts.backend.store(_models)})


def _models(store: JobStore) -> list[dict[str, Any]]:
    return [
        {**model, "job": job.job_id, "target": job.spec.target, "time": job.ended or job.created}
        for job in store.list(limit=0)
        if isinstance(job.telemetry, Stored) and '"models"' in job.telemetry.text  # without a look into all others
        for model in job.telemetry.get("models", ())
    ]
