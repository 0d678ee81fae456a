"""What every test gets: a home of its own, and no process left behind. Files of tests/fakes offer more fixtures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest_plugins = [f"tests.fakes.{file.stem}" for file in sorted(Path(__file__).parent.glob("fakes/[!_]*.py"))]

ROOT = Path(__file__).parent.parent
#: Would let a test see or change what belongs to the person who runs it.
FOREIGN = ("JUPYTER_", "LEPTON_", "IPYTHON", "SSH_", "MPLBACKEND", "XDG_CONFIG_HOME", "XDG_DATA_HOME")


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and all it starts would too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this repository."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh home folder for this test session and all it starts; caches (pip, fonts) stay the real ones."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(FOREIGN):
                patch.delenv(name)
        patch.setenv("HOME", str(folder))
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setenv("LEPTON_HOME", str(folder / "lepton"))
        patch.setenv("LEPTON_CONFIG", str(folder / "lepton.toml"))
        patch.setenv("LEPTON_TEST_HOME", str(folder))
        if not list(cache.glob("matplotlib/fontlist*.json")):  # its slow first use writes a line to stderr
            subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], check=False, capture_output=True)
        yield folder
        _end_all(folder)


def _end_all(folder: Path) -> None:
    """Kill what still runs with this home: agents and kernels outlive their notebook on purpose."""
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("LEPTON_TEST_HOME") == str(folder)
            if ours and process.pid != os.getpid():
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
