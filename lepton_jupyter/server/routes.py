"""Which address is answered by what. Runs in the Jupyter server.

Every handler here is told to its caller by `LeptonHandler`'s rules; a test walks this table and finds a verb that is
not protected.
"""

from __future__ import annotations

from typing import Any

from . import routes_artifacts as files
from . import routes_jobs as jobs
from . import routes_models as models
from . import routes_outputs as outputs
from . import routes_targets as targets
from .socket import StreamHandler

_JOB = r"lepton/api/jobs/([^/]+)"
_TARGET = r"lepton/api/targets/([^/]+)"
#: In this order; the default is set by a verb of its own, so a target may bear that name.
_ROUTES: tuple[tuple[str, type[Any]], ...] = (
    (r"lepton/api/jobs", jobs.JobsHandler),
    (_JOB, jobs.OneJobHandler),
    (rf"{_JOB}/outputs", outputs.OutputsHandler),
    (rf"{_JOB}/logs", outputs.LogsHandler),
    (rf"{_JOB}/history", outputs.HistoryHandler),
    (rf"{_JOB}/artifacts", files.ArtifactsHandler),
    (rf"{_JOB}/artifacts/([^/]+)", files.ArtifactHandler),
    (rf"{_JOB}/cancel", jobs.CancelHandler),
    (rf"{_JOB}/retry", jobs.RetryHandler),
    (rf"{_JOB}/write", jobs.WriteHandler),
    (r"lepton/api/models", models.ModelsHandler),
    (r"lepton/api/targets", targets.TargetsHandler),
    (_TARGET, targets.OneTargetHandler),
    (rf"{_TARGET}/test", targets.TestHandler),
    (r"lepton/api/stream", StreamHandler),
)


def routes() -> list[tuple[str, type[Any]]]:
    """The table, relative to the server's own address, which JupyterHub prefixes."""
    return list(_ROUTES)
