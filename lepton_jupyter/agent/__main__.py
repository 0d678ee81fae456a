"""The agent's command line. Runs on the host, out of the zip.

``attach ROOT``       joins stdin and stdout to an agent: the first frame says which, and whether to create it
``serve ROOT ID``     is the agent
``kernel -f FILE``    is the kernel
"""

from __future__ import annotations

import importlib
import os
import sys


def main() -> None:
    command = sys.argv[1]
    if command == "attach":
        from lepton_jupyter.agent.attach import main as attach

        attach(os.path.expanduser(sys.argv[2]))
    elif command == "serve":
        from lepton_jupyter.agent.daemon import main as serve

        serve(sys.argv[2], sys.argv[3])
    elif command == "kernel":
        kernel = importlib.import_module("lepton_jupyter.kernel.main").main  # a layer above us, another process

        del sys.argv[1]
        kernel()
    else:
        raise SystemExit(f"unknown command {command!r}")


main()
