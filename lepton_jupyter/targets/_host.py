"""This machine as a host: the local target is a true rehearsal of the remote one. Runs in the notebook's kernel.

A command started here behaves as it would over SSH: it begins in the home folder, in a session of its own (Ctrl-C in
the terminal of the notebook server never reaches it), loses only its pipes when the channel closes, and a program that
does not exist is exit status 127 and a line on stderr.
"""

from __future__ import annotations

import os
import select
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

STDERR_TAIL = 1 << 16
_CHUNK = 1 << 20


class LocalProcess:
    """A child process whose stdin and stdout are a channel; see `_base.Process`."""

    def __init__(self, argv: Sequence[str], cwd: Path) -> None:
        # Inherited JPY_* variables speak of the kernel or server we are in, not of what starts here.
        env = {name: value for name, value in os.environ.items() if not name.startswith("JPY_")}
        self._popen = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@"', "sh", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
        assert self._popen.stdin and self._popen.stdout and self._popen.stderr
        self._stdin, self._stdout, self._errors = self._popen.stdin, self._popen.stdout, self._popen.stderr
        for pipe in (self._stdin, self._stdout, self._errors):
            os.set_blocking(pipe.fileno(), False)
        # Closing the writing end of this pipe wakes every thread that waits in `_ready`.
        self._wake, self._waker = os.pipe()
        self._closed = False
        self._state = threading.Lock()
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._tail = bytearray()
        self._drained = threading.Event()
        threading.Thread(target=self._drain_stderr, name=f"stderr of {self._popen.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def read(self, n: int) -> bytes:
        with self._reading:
            while self._ready(self._stdout, select.POLLIN):
                data = self._stdout.read(min(n, _CHUNK))
                if data is not None:
                    return data
        return b""

    def write(self, data: bytes) -> None:
        with self._writing, memoryview(data) as view:
            sent = 0
            while sent < len(view):
                if not self._ready(self._stdin, select.POLLOUT):
                    raise BrokenPipeError("the channel is closed")
                sent += self._stdin.write(view[sent : sent + _CHUNK]) or 0

    def stderr(self) -> str:
        return bytes(self._tail).decode(errors="replace")

    def wait(self, timeout: float) -> int | None:
        try:
            status = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._drained.wait(min(1.0, timeout))  # its last words are complete once the process is gone
        return status

    def close(self) -> None:
        with self._state:
            if self._closed:
                return
            self._closed = True
            os.close(self._waker)
        with self._reading, self._writing:
            self._stdin.close()
            self._stdout.close()
        self._drained.wait()
        os.close(self._wake)

    def _ready(self, pipe: IO[bytes], event: int) -> bool:
        """Wait until the pipe can move or has ended; False when the channel is closed."""
        if self._closed:
            return False
        poll = select.poll()
        poll.register(pipe, event)
        poll.register(self._wake, select.POLLIN)
        return all(fd != self._wake for fd, _ in poll.poll())

    def _drain_stderr(self) -> None:
        while self._ready(self._errors, select.POLLIN):
            data = self._errors.read(_CHUNK)
            if data is None:
                continue
            if not data:
                break
            self._tail += data
            del self._tail[:-STDERR_TAIL]
        self._errors.close()
        self._drained.set()
        self._popen.wait()  # no zombie stays behind


class LocalHost:
    """This machine; see `_base.Host`."""

    label = "this machine"

    def __init__(self, cwd: Path | None = None) -> None:
        self._cwd = cwd

    def start(self, argv: Sequence[str]) -> LocalProcess:
        home = self._cwd or Path.home()
        return LocalProcess(argv, home if home.is_dir() else Path("/"))

    def close(self) -> None:
        """Nothing is held: each process closes its own pipes."""
