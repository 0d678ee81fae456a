"""A notebook's kernel that is restarted or shut down while a cell of it runs elsewhere: the job does not notice.

Jupyter interrupts a kernel before it ends it, which must not be taken for the stop button.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lepton_jupyter.store import JobStore
from tests.conformance.frontend import PATIENCE, front_end

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("now", [False, True])
def test_a_job_outlives_the_restart_of_its_notebooks_kernel(tmp_path: Path, repository: Path, now: bool) -> None:
    gate, state = tmp_path / "gate", tmp_path / "state"
    environ = {**os.environ, "LEPTON_HOME": str(state), "PYTHONPATH": str(repository)}
    with front_end(tmp_path, environ) as end:
        end.run_well("%load_ext lepton_jupyter")
        cell = end.start(
            "%%lepton_train\nimport os, time\nprint('first')\n"
            f"while not os.path.exists({str(gate)!r}):\n    time.sleep(0.02)\nprint('last')\n"
        )
        cell.shows("first\n")
        end.manager.restart_kernel(now=now)
        end.client.wait_for_ready(timeout=PATIENCE)
        gate.touch()
        end.run_well("%load_ext lepton_jupyter")
        (job,) = JobStore(state / "jobs.db").list()
        attached = end.run_well(f"%lepton_attach {job.job_id}")
        assert attached.outputs() == [{"output_type": "stream", "name": "stdout", "text": "first\nlast\n"}]
