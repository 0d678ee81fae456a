"""``%lepton_sync``: bring every finished job of this notebook back into its cells. Runs in the notebook's kernel.

Only Jupyter Server knows who has the notebook open and may write into it, so it is asked over HTTP, as a page asks it.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class

from ..errors import LeptonError
from ..job import Job
from ._errors import MagicParser
from ._process import default_kernel, dispatcher, notebook_path

#: Seconds that the server has for one job: it may have to fetch the outputs from a host far away.
_PATIENCE = 120.0
_BY_HAND = "Elsewhere, %lepton_attach JOB shows a job's outputs in a cell."


@magics_class
class SyncMagics(Magics):
    """The magic that brings outputs home."""

    @line_magic
    def lepton_sync(self, line: str = "") -> None:
        """Bring every finished job of this notebook back into its cells.

        ::

            %lepton_sync

        Outputs come home by themselves while Jupyter Server runs with the Lepton extension. This is for what it could
        not do then: a host that was unreachable, a full disk. A cell that was run again keeps its newer outputs, and a
        cell that was deleted is said; `%lepton_logs JOB` shows what such a job printed.
        """
        MagicParser("%lepton_sync").parse_line(line)
        shell = self.shell
        assert shell is not None
        path = notebook_path(shell)
        if not path:
            raise LeptonError("it is not known which notebook this is: there is no Jupyter Server here", hint=_BY_HAND)
        jobs = finished(dispatcher().store.list(limit=0), path, default_kernel(shell))
        if not jobs:
            print("lepton: no job of this notebook has ended yet")  # noqa: T201
            return
        server = server_of(path)
        for job in jobs:
            print(f"lepton: job {job.job_id} ({job.spec.title}): {_said(ask_server(server, job.job_id))}")  # noqa: T201


def finished(jobs: list[Job], path: str, kernel: str) -> list[Job]:
    """The newest job of each cell of the notebook, if it has ended; oldest first. `jobs` are newest first.

    A notebook that was renamed is known by the name of its kernel, which stays.
    """
    newest: dict[str, Job] = {}
    for job in jobs:
        if job.spec.notebook == path or job.spec.kernel == kernel:
            newest.setdefault(job.spec.cell_id or job.job_id, job)
    return [job for job in reversed(newest.values()) if job.state.final]


def server_of(path: str) -> Mapping[str, Any]:
    """The running Jupyter Server that shows the notebook `path`. Raises LeptonError."""
    try:
        from jupyter_server.serverapp import list_running_servers
    except ImportError:
        raise LeptonError("Jupyter Server is not installed beside this kernel", hint=_BY_HAND) from None
    servers: Iterator[Mapping[str, Any]] = list_running_servers()
    found = [server for server in servers if Path(path).is_relative_to(str(server.get("root_dir") or "/nowhere"))]
    if not found:
        hint = f"Open the notebook in JupyterLab or Notebook 7 (with lepton-jupyter beside it). {_BY_HAND}"
        raise LeptonError("no Jupyter Server that shows this notebook runs on this machine", hint=hint)
    parent = os.environ.get("JPY_PARENT_PID", "")
    return max(found, key=lambda server: (str(server.get("pid")) == parent, len(str(server["root_dir"]))))


def ask_server(server: Mapping[str, Any], job_id: str) -> Mapping[str, Any]:
    """Have `server` write the job into its notebook; what became of it. Raises LeptonError."""
    url = f"{server.get('url', '')}lepton/api/jobs/{job_id}/write"
    if not url.startswith(("http://", "https://")):
        raise LeptonError(f"Jupyter Server at {url} cannot be asked from here", hint=_BY_HAND)
    headers = {"Authorization": f"token {server.get('token', '')}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=b"{}", headers=headers, method="POST")  # noqa: S310 - checked above
    plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is this machine: no proxy between
    try:
        with plain.open(request, timeout=_PATIENCE) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error) from None
    except (OSError, ValueError) as error:
        raise LeptonError(f"Jupyter Server did not answer: {error}", hint=_BY_HAND) from None
    return found if isinstance(found, dict) else {}


def _refused(error: urllib.error.HTTPError) -> LeptonError:
    if error.code == 404:
        return LeptonError(
            "this Jupyter Server does not have the Lepton extension",
            hint=f"Install lepton-jupyter where it runs, and start it again. {_BY_HAND}",
        )
    if error.code in (401, 403):
        return LeptonError(
            "this Jupyter Server wants a password, so a kernel cannot ask it",
            hint=f"Write the job from the sidebar. {_BY_HAND}",
        )
    try:
        said = json.load(error)
        return LeptonError(str(said["message"]), hint=str(said.get("hint", "")))
    except (OSError, ValueError, KeyError, TypeError):
        return LeptonError(f"Jupyter Server answered {error.code} {error.reason}", hint=_BY_HAND)


def _said(written: Mapping[str, Any]) -> str:
    words = str(written.get("words") or "")
    state = {"written": "in its cell", "gone": "", "waiting": "not yet", "failed": "failed"}.get(
        str(written.get("state")), str(written.get("state"))
    )
    return " – ".join(filter(None, (state, words))) or "in its cell"
