"""What `import` and `%load_ext` cost a notebook, and that nothing heavy comes with them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from ._bed import Bed
from ._table import Row, in_turn

_HEAVY = ("torch", "tensorflow", "keras", "paramiko", "ray", "pandas", "numpy", "matplotlib")
_LOAD = "shell.run_line_magic('load_ext', {0!r})"
_CODE = """
import json, sys, time
{prepare}
began = time.perf_counter()
{do}
took = time.perf_counter() - began
print(json.dumps([took, [name for name in {heavy!r} if name in sys.modules]]))
"""
_SHELL = """
import ipykernel.ipkernel
from ipykernel.zmqshell import ZMQInteractiveShell
shell = ZMQInteractiveShell.instance()
"""


def imports(bed: Bed) -> list[Row]:
    heavy: set[str] = set()

    def measure(python: str, prepare: str, do: str) -> Callable[[], float]:
        def run() -> float:
            code = _CODE.format(prepare=prepare, do=do, heavy=_HEAVY)
            done = subprocess.run([python, "-c", code], env=bed.env, capture_output=True, text=True, check=True)
            seconds, found = json.loads(done.stdout.splitlines()[-1])
            if python == sys.executable:
                heavy.update(found)
            return float(seconds)

        return run

    peer = bed.peers.missing("ipyparallel")
    tasks = {
        "import": measure(sys.executable, "", "import lepton_jupyter"),
        "load": measure(sys.executable, _SHELL, _LOAD.format("lepton_jupyter")),
    }
    if not peer:
        python = str(bed.peers.python)
        tasks["peer import"] = measure(python, "", "import ipyparallel")
        tasks["peer load"] = measure(python, _SHELL, _LOAD.format("ipyparallel"))
    took = in_turn(tasks, 2 if bed.quick else 15, warm_up=1)
    rows = []
    for name, figure in (("import", "`import lepton_jupyter`"), ("load", "`%load_ext lepton_jupyter` in a kernel")):
        theirs = took.get(f"peer {name}")
        came = f"with {', '.join(sorted(heavy))}" if heavy else "nothing heavy imported"
        rows.append(
            Row(
                figure=figure, goal="≤ 150 ms; no torch, tensorflow, paramiko, ray", ours=f"{took[name]}; {came}",
                peer=f"{bed.peers.version('ipyparallel')} {theirs}" if theirs else peer,
                ratio=f"{took[name].median / theirs.median:.2f}" if theirs else "",
                met=took[name].median <= 0.15 and not heavy,
            )
        )  # fmt: skip
    return rows
