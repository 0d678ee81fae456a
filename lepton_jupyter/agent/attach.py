"""One end of a link on the host: hands its stdin and stdout to the agent, and launches agents.

Runs on the host under its own python3, once per link. The first frame it reads is one of

``open``   kernel: join an agent; when it is gone, the files it left answer
``create`` kernel, python, cwd, idle_stop, env (what `interpreter.find` shall find or make): make an agent, then join it
``poll``   kernels: answers ``done`` with statuses, then ends
``stop``   kernel: ends the agent, its kernel and all their processes; answers ``done``
``probe``  answers ``done`` with what this host has

A link to a living agent must be quick to make, above all after a cut. So what only the others need is imported by them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
import threading
import time
from typing import Any

from ..errors import HostStorage, LaunchFailed, LeptonError, WireError
from ..wire import FrameReader, Message, fault, pack
from .pipes import pass_pipes
from .storage import Alive, forget_old, kernel_folder, private_folder, read_json, socket_folder, write_json

#: An agent that does not listen by then did not start.
_START_TIMEOUT = 60.0


class Stdio:
    """Our stdin and stdout as a channel. Nothing else may print here."""

    def read(self, n: int) -> bytes:
        return os.read(0, n)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]

    def close(self) -> None:
        os._exit(0)  # the one way to unblock a thread that reads stdin


def main(root: str) -> None:
    """Obey the first frame."""
    stdio = Stdio()
    for pipe in (0, 1):
        _widen(pipe)
    reader = FrameReader(stdio)
    try:
        message = reader.read()
        if message is not None:
            _obey(root, message, stdio, reader)
    except LeptonError as error:
        stdio.write(pack(fault(error)))
    except (BrokenPipeError, EOFError):
        pass  # the client left


def _obey(root: str, message: Message, stdio: Stdio, reader: FrameReader) -> None:
    fields = message.fields
    if message.kind in ("open", "create"):
        if message.kind == "create":
            private_folder(root)
            for name in ("kernels", "jobs"):
                private_folder(os.path.join(root, name))
            end: socket.socket | None = _create(root, fields, stdio)
        else:
            end = _join_when_alive(root, str(fields["kernel"]))
        _serve(root, str(fields["kernel"]), end, stdio, reader)
        return
    answer: dict[str, Any] = {}
    if message.kind == "poll":
        answer["alive"] = {kernel: Alive(kernel_folder(root, kernel)).held() for kernel in fields["kernels"]}
    elif message.kind == "stop":
        _stop(root, fields["kernel"])
    elif message.kind == "probe":
        from .probe import findings

        answer["findings"] = findings(root, fields["python"])
    else:
        raise WireError(f"this agent does not know {message.kind!r}")
    stdio.write(pack(Message("done", answer)))


def _serve(root: str, kernel: str, end: socket.socket | None, stdio: Stdio, reader: FrameReader) -> None:
    """Be the link to the kernel's agent at `end`, or to the files that one left."""
    stdio.write(pack(Message("ready", {"live": end is not None})))
    if end is None:
        from .archive import Archive
        from .connection import Connection, Ledger

        Connection(_Rest(stdio, reader.rest()), Archive(root, kernel), Ledger()).run()
    else:
        if reader.rest():
            raise WireError("the client spoke before it was told that the agent is there")
        pass_pipes(end, (0, 1))


class _Rest(Stdio):
    """Stdio with some bytes that were read already."""

    def __init__(self, stdio: Stdio, rest: bytes) -> None:
        self._rest = rest

    def read(self, n: int) -> bytes:
        rest, self._rest = self._rest, b""
        return rest or super().read(n)


def _create(root: str, options: dict[str, Any], stdio: Stdio) -> socket.socket:
    """Start an agent; a connection to it. Raises InterpreterUnfit, HostStorage, LaunchFailed."""
    import subprocess

    from .interpreter import find
    from .linger import survive_logout
    from .processes import MARKER

    def notify(text: str) -> None:
        stdio.write(pack(Message("progress", {"text": text})))

    forget_old(root)
    env = options.pop("env", None)  # it may hold passwords: nothing of it is stored
    python = find(str(options["python"]), root, notify, env)
    if "cache_size" in options:
        from ..blobs import BlobStore

        BlobStore(os.path.join(root, "blobs"), fault=HostStorage).limit(int(options["cache_size"]))
    kernel = str(options["kernel"])
    folder = private_folder(kernel_folder(root, kernel))
    about = {**options, "python": python, "host": socket.gethostname(), "sockets": socket_folder(folder)}
    write_json(os.path.join(folder, "kernel.json"), about)
    log_path = os.path.join(folder, "agent.log")
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    environ = {name: value for name, value in os.environ.items() if name != MARKER}
    process = subprocess.Popen(
        [*survive_logout(notify), python, sys.argv[0], "serve", root, kernel],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environ, start_new_session=True,
    )  # fmt: skip
    os.close(log)
    if os.path.isdir(os.path.join(root, "envs")):
        from .environments import forget_unused

        threading.Thread(target=forget_unused, args=(root,), daemon=True).start()
    deadline = time.monotonic() + _START_TIMEOUT
    while (end := _connect(root, kernel)) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            with open(log_path, errors="replace") as file:
                raise LaunchFailed(f"the agent did not start; its log {log_path} ends:\n{file.read()[-2000:]}")
        time.sleep(0.01)
    return end


def _join_when_alive(root: str, kernel: str) -> socket.socket | None:
    """A connection to the kernel's agent, also to one that is slow to listen; None when it is gone."""
    deadline = time.monotonic() + _START_TIMEOUT
    while (end := _connect(root, kernel)) is None:
        if kernel == "-" or not Alive(kernel_folder(root, kernel)).held():
            return None
        if time.monotonic() > deadline:
            raise LaunchFailed(f"the agent of kernel {kernel} does not answer, but it runs")
        time.sleep(0.05)
    return end


def _connect(root: str, kernel: str) -> socket.socket | None:
    """A connection to the kernel's agent, or None when there is none."""
    if kernel == "-":
        return None
    options = read_json(os.path.join(kernel_folder(root, kernel), "kernel.json"))
    if options is None:
        return None
    if options["host"] != socket.gethostname():
        words = f"kernel {kernel} runs on {options['host']}, but this is {socket.gethostname()}"
        raise LaunchFailed(words, hint="Let the target name that machine, not a name shared by several.")
    end = socket.socket(socket.AF_UNIX)
    try:
        end.connect(os.path.join(options["sockets"], "agent.sock"))
    except OSError:
        end.close()
        return None
    return end


def _widen(pipe: int) -> None:
    """Let a pipe hold a MiB, where it is one: large data then takes a quarter of the time.

    `splice` would take less still, but it holds the pipe's lock while it waits, and sshd, which must not wait, with it.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, 1031, 1 << 20)  # F_SETPIPE_SZ, which Python names from 3.10 on


def _stop(root: str, kernel: str) -> None:
    """End the agent in good order, or by force; on return none of its processes runs."""
    from .processes import MARKER, end_family

    folder = kernel_folder(root, kernel)
    end = _connect(root, kernel)
    if end is not None:
        with end:
            end.sendall(pack(Message("stop", {"n": 1})))
            end.settimeout(20)
            try:
                while end.recv(1 << 16):
                    pass
            except OSError:
                pass
    alive = Alive(folder)
    deadline = time.monotonic() + 10
    while alive.held() and time.monotonic() < deadline:
        time.sleep(0.02)
    end_family(0, f"{MARKER}={kernel}", 1.0)
    if alive.held():
        raise LaunchFailed(f"the agent of kernel {kernel} does not end; look at {folder}/agent.log on the host")
