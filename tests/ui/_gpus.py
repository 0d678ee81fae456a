"""A host that shows two H100s: a real sshd with an nvidia-smi on its PATH that answers as one did. In the test process.

What it says of utilisation, temperature and power follows a recorded quarter of an hour of training, by the clock.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from tests.fakes.sshd import Sshd

NAME = "NVIDIA H100 80GB HBM3"
_UUIDS = ("GPU-5c1f0b3e-8a52-6f0d-2f3b-9d1c7f6a4e10", "GPU-e07d2c94-41bb-93d8-70aa-1b6e5f8d2c33")
_PROGRAM = """#!/bin/sh
now=$(date +%s)
case "$*" in
*--query-gpu=*) awk -v now="$now" 'BEGIN {{
    dip = (now % 19 < 2) ? 46 : 0
    busy = int(95 + 3 * sin(now / 3) - dip + (now * 7919 % 5) - 2); if (busy > 100) busy = 100
    half = int(54 + 16 * sin(now / 7) + (now * 104729 % 9) - 4)
    row = "%d, %s, {name}, %d, %d, 81559, %d, %.2f\\n"
    printf row, 0, "{first}", busy, 63411 + now % 60, 66 + busy / 33, 420 + 2.3 * busy
    printf row, 1, "{second}", half, 22874, 49 + half / 10, 130 + 4.1 * half
}}' ;;
*--query-compute-apps=gpu_uuid*) cat "{holders}" ;;
esac
"""


class GpuHost:
    """`target` are the options of a target there; its cells run in `folder`."""

    def __init__(self, folder: Path, home: Path, alias: str) -> None:
        folder.mkdir(parents=True)
        tools = folder / "tools"
        tools.mkdir()
        self._holders = folder / "holders"
        self._holders.touch()
        program = tools / "nvidia-smi"
        first, second = _UUIDS
        program.write_text(_PROGRAM.format(name=NAME, first=first, second=second, holders=self._holders))
        program.chmod(0o755)
        there = {"HOME": str(folder / "sshd" / "home"), "LEPTON_TEST_HOME": str(home)}
        there["PATH"] = f"{tools}{os.pathsep}{os.environ['PATH']}"
        environment = " ".join(f'"{name}={value}"' for name, value in there.items())
        self.sshd = Sshd(folder / "sshd", options=(f"SetEnv {environment}",), home_mark=str(home))
        known = folder / "known_hosts"
        known.write_text(self.sshd.known_hosts_lines())
        config = folder / "ssh_config"
        config.write_text(self.sshd.config_block(known, alias=alias))
        work = folder / "work"
        work.mkdir()
        self.target: dict[str, Any] = {
            "kind": "ssh", "host": alias, "ssh_config": str(config), "python": sys.executable,
            "root": str(self.sshd.root), "cwd": str(work), "price_per_hour": 4.2,
        }  # fmt: skip

    def hold(self, pid: int) -> None:
        """From now on this process is on the first GPU, and another's on both."""
        first, second = _UUIDS
        rows = ((first, pid, "python", 60512), (second, 1, "/usr/bin/tritonserver", 21904))
        self._holders.write_text("".join(f"{uuid}, {who}, {name}, {mib}\n" for uuid, who, name, mib in rows))

    def stop(self) -> None:
        self.sshd.stop()
