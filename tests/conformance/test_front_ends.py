"""Other front ends than a notebook: a plain IPython terminal, and nbclient where a failing cell ends the run."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.conformance.conftest import TARGETS, Place, make_place
from tests.fakes.sshd import Sshd

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
IPYTHON = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor", "--no-confirm-exit"]


@pytest.fixture(params=TARGETS)
def place(request: pytest.FixtureRequest, tmp_path: Path, shared_sshd: Sshd) -> Iterator[Place]:
    place = make_place(tmp_path, request.param, shared_sshd)
    yield place
    place.end()


def script(place: Place, *cells: str) -> subprocess.CompletedProcess[str]:
    """A file of cells, run by IPython without a terminal."""
    lines = ["get_ipython().run_line_magic('load_ext', 'lepton_jupyter')"]
    for cell in cells:
        run = f"get_ipython().run_cell_magic('lepton_train', '--on {place.target}', {cell!r})"
        lines.append(run)
    (place.folder / "cells.ipy").write_text("\n".join(lines) + "\n")
    return subprocess.run(
        [*IPYTHON, "cells.ipy"], cwd=place.folder, env=place.env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def test_a_script_in_plain_ipython(place: Place) -> None:
    done = script(
        place,
        "import sys\nprint('out ü')\nprint('err', file=sys.stderr)\nvalue = 6\n",
        "from IPython.display import HTML\ndisplay(HTML('<b>'))\nvalue * 7\n",
    )
    assert done.stdout.splitlines() == ["out ü", "<IPython.core.display.HTML object>", "42"]
    assert done.stderr == "err\n"
    assert done.returncode == 0


def test_a_script_that_fails_in_plain_ipython(place: Place) -> None:
    done = script(place, "print('before')\ndef f():\n    1 / 0\nf()\n", "print('never')\n")
    assert done.stdout.startswith("before\n")
    assert without_colours(done.stdout + done.stderr).count("ZeroDivisionError: division by zero") == 1
    assert "never" not in done.stdout
    assert done.returncode == 1


def test_a_terminal(place: Place) -> None:
    """Typed into IPython at a real terminal: streams, the last expression, a question, an error, Ctrl-C."""
    with Terminal(place) as terminal:
        terminal.type("%load_ext lepton_jupyter")
        terminal.cell(f"%%lepton_train --on {place.target}", "print('hello'); 6 * 7")
        assert terminal.expect(r"hello\r\n42\r\n")
        terminal.cell(f"%%lepton_train --on {place.target}", "'it is ' + input('name? ')")
        terminal.expect(r"name\? ")
        terminal.type("Ann")
        terminal.expect(r"'it is Ann'\r\n")
        terminal.cell(f"%%lepton_train --on {place.target}", "[][1]")
        text = terminal.expect(r"IndexError: list index out of range[^$]*In \[\d+\]: $")
        assert text.count("IndexError: list index out of range") == 1
        code = "import time; print('sleeps', flush=True); time.sleep(1000)"
        terminal.cell(f"%%lepton_train --on {place.target}", code)
        terminal.expect(r"sleeps\r\n")
        terminal.send("\x03")
        text = terminal.expect(r"KeyboardInterrupt[^$]*In \[\d+\]: ")
        assert "time.sleep(1000)" in text
        terminal.type("%lepton_jobs")
        terminal.expect(r"FAILED +import time")


def test_a_failing_cell_ends_a_run_of_all(place: Place) -> None:
    sources = ("%load_ext lepton_jupyter", f"{place.magic}1 / 0", "print('never')")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client = NotebookClient(
        notebook, kernel_name="python3", timeout=120, resources={"metadata": {"path": str(place.folder)}}
    )
    with pytest.raises(CellExecutionError):
        client.execute(env=place.env)
    failed, never = notebook.cells[1:]
    assert [output.output_type for output in failed.outputs].count("error") == 1
    assert never.outputs == []


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class Terminal:
    """IPython before a real terminal."""

    def __init__(self, place: Place) -> None:
        self._end, far = pty.openpty()
        self._raw, self._text, self._seen = b"", "", 0
        env = {**place.env, "TERM": "dumb", "COLUMNS": "200"}
        self._process = subprocess.Popen(
            IPYTHON, cwd=place.folder, env=env, stdin=far, stdout=far, stderr=far, start_new_session=True,
            preexec_fn=_own_terminal,
        )  # fmt: skip
        os.close(far)

    def __enter__(self) -> Terminal:
        self.expect(r"In \[1\]: ")
        return self

    def __exit__(self, *args: object) -> None:
        self.send("\x04")
        try:
            self._process.wait(30)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            os.close(self._end)

    def send(self, text: str) -> None:
        os.write(self._end, text.encode())

    def type(self, line: str) -> None:
        self.send(line + "\n")

    def cell(self, *lines: str) -> None:
        """Lines of one cell, ended as IPython's simple prompt wants it."""
        self.type("\n".join(lines) + "\n\n")

    def expect(self, pattern: str) -> str:
        """What came since the last call up to `pattern`."""
        deadline = time.monotonic() + 60
        while not (found := re.compile(pattern).search(self._text, self._seen)):
            assert time.monotonic() < deadline, f"{pattern!r} never came: {self._text[self._seen :]!r}"
            if select.select([self._end], [], [], 0.2)[0]:
                self._raw += os.read(self._end, 1 << 16)
                self._text = without_colours(self._raw.decode(errors="replace"))
        start, self._seen = self._seen, found.end()
        return self._text[start : found.end()]


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
