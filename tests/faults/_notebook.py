"""Runs one notebook headless and saves it, as papermill or CI would. A process of its own, so that many run at once.

``python _notebook.py SOURCE TARGET``
"""

from __future__ import annotations

import sys

import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
# nbclient gives up on outputs that come later than `iopub_timeout` after the kernel's reply; the default is 4 s.
client = NotebookClient(notebook, timeout=400, iopub_timeout=300, kernel_name="python3", allow_errors=True)
try:
    client.execute()
finally:
    nbformat.write(notebook, sys.argv[2])
