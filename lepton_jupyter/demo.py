"""``lepton demo``: run the quickstart notebook on this machine and show how it goes.

Runs in the command line, with a notebook kernel of its own beside it. The demo touches nothing of the user's: its
targets, jobs and kernels live in a temporary folder and end with it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import Config
from .errors import LeptonError, MissingDependency
from .remote import Dispatcher
from .store import JobStore

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOK = "00_quickstart.ipynb"
#: Package to import -> extra that brings it.
NEEDED = {"nbclient": "demo", "sklearn": "demo", "matplotlib": "demo", "torch": "torch", "tensorflow": "tensorflow"}
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_RESULT = re.compile(r"^.*\bfinal accuracy\b.*$", re.MULTILINE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when every cell succeeded. Raises MissingDependency when a package it needs is absent."""
    parser = argparse.ArgumentParser(prog="lepton demo", description="Run the quickstart notebook on this machine.")
    parser.add_argument("--to", type=Path, default=Path("lepton-demo"), help="folder for the notebook with its outputs")
    folder: Path = parser.parse_args(argv).to
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        extras = ",".join(sorted({"demo", *(NEEDED[name] for name in missing)}))
        hint = f'Install what is missing: pip install "lepton-jupyter[{extras}]"'
        raise MissingDependency(f"the demo needs {', '.join(missing)}", hint=hint)
    import nbformat

    source = find_notebook()
    notebook = nbformat.read(source, as_version=4)
    folder.mkdir(parents=True, exist_ok=True)
    saved = folder / source.name
    print(f"Running {_shown(source)} on this machine (target: local)\n", flush=True)
    try:
        failure = run(notebook, Progress(sys.stdout), folder)
    finally:
        nbformat.write(notebook, saved)
    if failure:
        print(f"\n{failure}\n\nThe demo failed. Outputs up to here: {_shown(saved)}")
        return 1
    print("\n" + "\n".join(results(notebook)))
    print(f"\nWith all outputs:  {_shown(saved)}")
    opened = saved if source.is_relative_to(Path(__file__).parent) else source
    print(f"Open it yourself:  {_jupyter()} lab {_shown(opened)}")
    return 0


def find_notebook() -> Path:
    """The quickstart: in the installed package, or in the repository this is a checkout of."""
    package = Path(__file__).parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if (folder / NOTEBOOK).exists():
            return folder / NOTEBOOK
    raise LeptonError(f"{NOTEBOOK} is not in this installation", hint="Install lepton-jupyter again.")


def run(notebook: NotebookNode, progress: Progress, folder: Path) -> str:
    """Execute all cells in place, in `folder`; the words of what went wrong, "" when all is well."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    class Client(NotebookClient):
        """Tells `progress` of every cell and every line it prints."""

        def create_kernel_manager(self) -> Any:
            manager = super().create_kernel_manager()
            manager.transport = "ipc"  # Unix sockets in a folder of ours, not TCP ports open to the machine
            manager.ip = os.path.join(os.environ["LEPTON_HOME"], "notebook")
            return manager

        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            if msg["msg_type"] == "stream":
                progress.printed(msg["content"]["text"])
            return super().process_message(msg, cell, cell_index)

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    place = {"metadata": {"path": str(folder)}}
    client = Client(notebook, timeout=None, kernel_name="python3", coalesce_streams=True, resources=place)
    client.on_cell_execute = lambda cell, cell_index: progress.begin(cells.index(cell) + 1, len(cells), cell.source)
    client.on_cell_executed = lambda cell, cell_index, execute_reply: progress.end(execute_reply["content"]["status"])
    with _private_state():
        try:
            client.execute()
        except CellExecutionError as error:
            outputs = [output for cell in cells for output in cell.outputs if output.output_type == "error"]
            return _ANSI.sub("", "\n".join(outputs[-1].traceback)) if outputs else str(error)
        except DeadKernelError:
            progress.end("error")
            return "The notebook's kernel ended."
    return ""


def results(notebook: NotebookNode) -> list[str]:
    """The lines of the outputs that state a final accuracy."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [line for output in outputs for line in _RESULT.findall(output.get("text", ""))]


class Progress:
    """What the person at the terminal sees: which cell runs, its last line, how long it took."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._live = file.isatty()
        self._heading, self._begun, self._line = "", 0.0, ""

    def begin(self, number: int, count: int, source: str) -> None:
        self._heading = f"[{number}/{count}] {source.splitlines()[0] if source else ''}"
        self._begun, self._line = time.monotonic(), ""
        self._show() if self._live else self._write(f"{self._heading}\n")

    def printed(self, text: str) -> None:
        """More text of the running cell; a line replaced by a carriage return counts as its last state."""
        *lines, self._line = (self._line + _ANSI.sub("", text)).split("\n")
        lines = [line.rstrip("\r").rpartition("\r")[2] for line in lines]
        if self._live:
            self._show(self._line.rstrip("\r").rpartition("\r")[2] or next((line for line in lines[::-1] if line), ""))
        else:
            self._write("".join(f"      {line}\n" for line in lines if line.strip()))

    def end(self, status: str) -> None:
        took = f"{'done' if status == 'ok' else 'FAILED'}, {time.monotonic() - self._begun:.1f} s"
        self._write(f"\r\x1b[K{self._heading}  ({took})\n" if self._live else f"      ({took})\n")

    def _show(self, line: str = "") -> None:
        text = f"{self._heading}  │ {line}" if line else f"{self._heading} …"
        self._write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()


@contextlib.contextmanager
def _private_state() -> Iterator[None]:
    """State and configuration for the demo alone; on leaving, its kernels are ended and the folder is gone."""
    names = ("LEPTON_HOME", "LEPTON_CONFIG", "LEPTON_TARGET")
    former = {name: os.environ.get(name) for name in names}
    folder = tempfile.mkdtemp(prefix="lepton-demo-")
    os.environ.pop("LEPTON_TARGET", None)
    os.environ.update(LEPTON_HOME=folder, LEPTON_CONFIG=os.path.join(folder, "lepton.toml"))
    try:
        try:
            yield
        finally:
            _stop_kernels()
    finally:
        for name, value in former.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        shutil.rmtree(folder, ignore_errors=True)


def _stop_kernels() -> None:
    """End every kernel that a job of this state folder ran on."""
    store = JobStore.load()
    dispatcher = Dispatcher(Config.load(), store)
    try:
        for native_id in {job.native_id for job in store.list(limit=0) if job.native_id}:
            dispatcher.target().stop(native_id)
    finally:
        dispatcher.close()


def _shown(path: Path) -> str:
    """`path` as it is typed from here."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _jupyter() -> str:
    """How to call the jupyter that belongs to this Python."""
    beside = Path(sys.executable).with_name("jupyter")
    return "jupyter" if shutil.which("jupyter") == str(beside) else _shown(beside)
