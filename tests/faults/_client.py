"""A process that runs a cell as a notebook's kernel does, for tests that kill it.

``python _client.py CONFIG STORE TARGET CELL_FILE`` prints the job's id, then `ok` or the error when the job has ended.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lepton_jupyter.config import Config
from lepton_jupyter.job import JobSpec
from lepton_jupyter.remote import Dispatcher
from lepton_jupyter.store import JobStore
from tests.faults._road import Recorder

config, store, target, cell = sys.argv[1:5]
dispatcher = Dispatcher(Config.load(Path(config)), JobStore(Path(store)))
view = Recorder()
run = dispatcher.run(JobSpec(code=Path(cell).read_text(), target=target, kernel="k"), lambda run: view)
print(run.job_id, flush=True)
run.wait(None)
print(run.error or "ok", flush=True)
dispatcher.close()
