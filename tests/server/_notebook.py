"""A notebook's kernel as a Dispatcher knows it: runs cells until it is killed. Started by test_server.py.

Reads lines `TARGET CELL_ID CODE-AS-JSON` from stdin and answers each with the id of its job.
"""

from __future__ import annotations

import json
import sys

from lepton_jupyter.config import Config
from lepton_jupyter.job import JobSpec
from lepton_jupyter.remote import Dispatcher, Run
from lepton_jupyter.store import JobStore
from lepton_jupyter.wire import Event


class Silent:
    def __init__(self, run: Run) -> None:
        self.run = run

    def show(self, event: Event) -> None: ...

    def notice(self, text: str) -> None: ...


dispatcher = Dispatcher(Config.load(), JobStore.load())
for line in sys.stdin:
    given = json.loads(line)
    run = dispatcher.run(JobSpec(**given), Silent)
    print(run.job_id, flush=True)
