"""Environments of peers, one a group of figures: what they need touches nothing of ours, nor of the others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "peers-compress"
PYTHON = FOLDER / "bin" / "python"


def install(modules: Sequence[str], *packages: Sequence[str], python: Path = PYTHON) -> str:
    """Have these modules there: by pip with each of `packages`, its words, where they are not. "", or why not."""
    made = python.exists()
    if made and not subprocess.run([python, "-c", f"import {', '.join(modules)}"], capture_output=True).returncode:
        return ""
    commands = [] if made else [[sys.executable, "-m", "venv", str(python.parent.parent)]]
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    commands += [[*pip, *words] for words in packages]
    print(f"installing {', '.join(modules)} for comparison …", file=sys.stderr, flush=True)
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return f"{modules[0]} could not be installed: {last(done.stderr)}"
    return ""


def last(text: str) -> str:
    """Its last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no word why")[:200]
