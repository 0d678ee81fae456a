"""A target whose agents run on a Host: the program sent there once, launched, joined, asked and stopped.

Runs in the notebook's kernel, the server and the command line. The same few lines serve this machine and a host
behind SSH, so running locally is a true rehearsal of running far away.

Bootstrap: the host's python3 gets a small first stage on its command line. It finds a Python that is new enough,
stores the agent (one zip, named by its SHA-256) under ROOT/agents unless it is there already, says ``LEPTON ready``
and becomes ``attach``. Nothing has to be installed on the host.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import secrets
import threading
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ..config import parse_duration, parse_size
from ..errors import ConfigError, HostStorage, HostUnreachable, InterpreterUnfit, LaunchFailed, LeptonError, WireError
from ..job import NativeId, Resources
from ..wire import Channel, FrameReader, Message, pack, to_error
from ._base import READER, Finding, Host, Notify, Process, TargetStatus

if TYPE_CHECKING:
    from importlib.abc import Traversable  # importlib.resources.abc from Python 3.11 on

#: What travels. Everything in it runs on a bare Python 3.9.
_TRAVELS = ("__init__.py", "errors.py", "wire.py", "blobs", "agent", "data", "kernel")
#: What travels to work on models: it needs Python 3.10 and numpy, and `kernel.compressing` says so.
_FOR_MODELS = ("registry.py", "ml")
#: A smaller cache would not even hold what makes up one cell's data.
_LEAST_CACHE = 1_000_000
#: A login shell that prints more than this before our first word is not one we can talk through.
_MAX_NOISE = 1 << 16

# Runs under any python3 that is there, so its syntax is old. `s` is the encoded text of this very stage.
_STAGE = r"""
import os, sys, hashlib
def say(text):
    os.write(1, ("LEPTON " + text.replace("\n", " ") + "\n").encode())
def find():
    for minor in range(30, 8, -1):
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            path = os.path.join(folder, "python3.%d" % minor)
            if os.access(path, os.X_OK):
                return path
def take(size):
    data = b""
    while len(data) < size:
        part = os.read(0, min(size - len(data), 1 << 20))
        if not part:
            sys.exit(4)
        data += part
    return data
def main():
    if sys.version_info < (3, 9):
        newer = None if os.environ.get("LEPTON_STAGE") else find()
        if newer is None:
            say("old %d.%d %s" % (sys.version_info[0], sys.version_info[1], sys.executable))
            sys.exit(3)
        os.environ["LEPTON_STAGE"] = "1"
        code = "import base64,zlib;s='%s';exec(zlib.decompress(base64.b64decode(s)))" % s
        os.execv(newer, [newer, "-c", code] + sys.argv[1:])
    os.environ.pop("LEPTON_STAGE", None)
    os.umask(0o077)
    root, digest = os.path.expanduser(sys.argv[1]), sys.argv[2]
    folder = os.path.join(root, "agents")
    path = os.path.join(folder, digest + ".zip")
    try:
        for place in (root, folder):
            if not os.path.isdir(place):
                os.makedirs(place, 0o700, True)
        if os.stat(root).st_uid != os.geteuid():
            raise OSError(1, "it belongs to another user", root)
        if not os.path.exists(path):
            say("send")
            data = take(int(take(12)))
            if hashlib.sha256(data).hexdigest() != digest:
                raise OSError(5, "the agent arrived damaged", path)
            part = path + ".%d" % os.getpid()
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(part, path)
    except OSError as error:
        say("storage %s: %s" % (error.filename or path, error.strerror))
        sys.exit(5)
    say("ready")
    os.execv(sys.executable, [sys.executable, path, "attach", root])
main()
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentConfig:
    """The keys that every target with an agent has."""

    python: str = "auto"  # "auto", "conda:NAME" or a path on the host
    root: str = "~/.lepton"  # our folder on the host
    cwd: str = ""  # where cells run there; "" = the home folder
    idle_stop: str = "12h"  # a kernel idle this long is stopped; "never" keeps it
    artifacts: str = ""  # a bucket (s3://…, gs://…, az://…) to which what jobs leave goes besides
    cache_size: str = ""  # what our folder on the host may keep of data to send again: "5GB"; "" = 20GiB, or as it was
    price_per_hour: float = 0.0  # shown as running cost; 0 = not known

    def __post_init__(self) -> None:
        if self.price_per_hour < 0:
            raise ConfigError(f"price_per_hour must be 0 or more, not {self.price_per_hour:g}")
        if self.cache_size:
            try:
                size = parse_size(self.cache_size)
            except ConfigError as error:
                raise ConfigError(f"cache_size: {error.message}", hint=error.hint) from None
            if size < _LEAST_CACHE:
                raise ConfigError(f"cache_size must be at least 1MB, not {self.cache_size}")


@functools.cache
def bundle() -> tuple[str, bytes]:
    """The agent as a zip and its SHA-256; the same bytes for the same sources."""
    package, buffer = files("lepton_jupyter"), io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, text: str) -> None:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)

        add("__main__.py", "import lepton_jupyter.agent.__main__\n")

        def walk(entry: Traversable, folder: str) -> None:
            if entry.is_dir():
                for inner in sorted(entry.iterdir(), key=lambda item: item.name):
                    walk(inner, f"{folder}{entry.name}/")
            elif entry.name.endswith(".py"):
                add(folder + entry.name, entry.read_text("utf-8"))

        for name in (*_TRAVELS, *_FOR_MODELS):
            walk(package / name, "lepton_jupyter/")
    data = buffer.getvalue()
    return hashlib.sha256(data).hexdigest(), data


class AgentTarget:
    """The four verbs, over any Host."""

    def __init__(self, name: str, config: AgentConfig, host: Host, interpreter: str = "python3") -> None:
        self.name = name
        self.price_per_hour = config.price_per_hour
        self._config, self._host = config, host
        # An interpreter named by its path also runs the bootstrap: the host may have no python3 on its PATH.
        given = config.python not in ("auto", "") and not config.python.startswith("conda:")
        self._interpreter = config.python if given else interpreter
        self._idle_stop = None if config.idle_stop == "never" else parse_duration(config.idle_stop)
        self._parked: dict[NativeId, Channel] = {}
        self._lock = threading.Lock()

    def launch(self, resources: Resources, notify: Notify, env: dict[str, Any] | None = None) -> NativeId:
        """Make an agent with its kernel exist. Raises TargetError.

        The link that launched it is kept for the first `open`, so a cold cell costs one command on the host.
        """
        native_id = NativeId("".join(secrets.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(12)))
        options = {"python": self._config.python, "cwd": self._config.cwd, "idle_stop": self._idle_stop}
        options["artifacts"] = self._config.artifacts
        if self._config.cache_size:
            options["cache_size"] = parse_size(self._config.cache_size)
        channel = self._join("create", notify, kernel=native_id, env=env, **options)
        with self._lock:
            self._parked[native_id] = channel
        return native_id

    def open(self, native_id: NativeId) -> Channel:
        """Bytes to and from the agent; an agent that is gone is stood in for by the files it left."""
        with self._lock:
            parked = self._parked.pop(native_id, None)
        return parked or self._join("open", lambda text: None, kernel=native_id)

    def poll(self, native_ids: Collection[NativeId]) -> dict[NativeId, TargetStatus]:
        alive = self._ask("poll", kernels=list(native_ids)).fields["alive"]
        return {name: TargetStatus.ALIVE if alive.get(name) else TargetStatus.GONE for name in native_ids}

    def stop(self, native_id: NativeId) -> None:
        if native_id != READER:
            self._ask("stop", kernel=native_id)

    def probe(self) -> list[Finding]:
        try:
            rows = self._ask("probe", python=self._config.python).fields["findings"]
        except LeptonError as error:
            return [Finding(subject="reachable", ok=False, value=error.message, cure=error.hint)]
        return [Finding(subject="reachable", ok=True, value=self._host.label), *(Finding(**row) for row in rows)]

    def close(self) -> None:
        with self._lock:
            parked, self._parked = list(self._parked.values()), {}
        for channel in parked:
            channel.close()
        self._host.close()

    def _join(self, kind: str, notify: Notify, **fields: Any) -> Channel:
        """Bootstrap, send the first frame, pass on progress, return the channel once the other end is ready."""
        process = self._bootstrap()
        try:
            self._write(process, pack(Message(kind, fields)))
            reader = FrameReader(process)
            while (message := self._read(reader, process)).kind == "progress":
                notify(str(message.fields.get("text", "")))
            if message.kind != "ready":
                raise WireError(f"{self._host.label} answered {message.kind!r} to {kind!r}")
            return process
        except BaseException:
            process.close()
            raise

    def _ask(self, kind: str, **fields: Any) -> Message:
        """One question to the host, one answer. Raises the error the host answers with."""
        process = self._bootstrap()
        try:
            self._write(process, pack(Message(kind, fields)))
            return self._read(FrameReader(process), process)
        finally:
            process.close()

    def _write(self, process: Process, data: bytes) -> None:
        try:
            process.write(data)
        except (EOFError, OSError):
            raise self._lost(process) from None

    def _read(self, reader: FrameReader, process: Process) -> Message:
        try:
            message = reader.read()
        except (EOFError, OSError):
            message = None
        if message is None:
            raise self._lost(process)
        if message.kind == "fault":
            raise to_error(message)
        return message

    def _bootstrap(self) -> Process:
        """A process on the host that waits for its first frame. Raises TargetError."""
        digest, data = bundle()
        text = base64.b64encode(zlib.compress(_STAGE.encode(), 9)).decode()
        code = f"import base64,zlib;s='{text}';exec(zlib.decompress(base64.b64decode(s)))"
        process = self._host.start([self._interpreter, "-c", code, self._config.root, digest])
        try:
            while True:
                word, _, rest = self._first_words(process).partition(" ")
                if word == "ready":
                    return process
                if word == "send":
                    self._write(process, b"%12d" % len(data) + data)
                elif word == "old":
                    hint = "Put Python 3.9 or newer on that PATH, or name one: --python /path/to/python3."
                    raise InterpreterUnfit(f"{self._host.label} has only Python {rest}", hint=hint)
                else:
                    hint = "Name a folder you can write there: --root /scratch/YOU/.lepton"
                    raise HostStorage(f"{self._host.label} cannot store the agent: {rest}", hint=hint)
        except BaseException:
            process.close()
            raise

    def _first_words(self, process: Process) -> str:
        """The next line of the bootstrap, past whatever the login shell prints."""
        seen = b""
        while len(seen) < _MAX_NOISE:
            try:
                data = process.read(4096)
            except OSError:
                data = b""
            if not data:
                raise self._lost(process, seen)
            seen += data
            _, found, line = seen.rpartition(b"LEPTON ")
            if found and line.endswith(b"\n"):
                return line.decode(errors="replace").rstrip()
        raise LaunchFailed(f"{self._host.label} prints without end before the agent starts: {seen[:200]!r}")

    def _lost(self, process: Process, seen: bytes = b"") -> LeptonError:
        """Why the far end went away, from its exit status and what it said."""
        status = process.wait(5.0)
        said = (process.stderr().strip() or seen.decode(errors="replace").strip())[-1000:]
        if status in (126, 127):
            hint = "Install Python 3.9 or newer there, or name one: --python /path/to/python3."
            return InterpreterUnfit(f"{self._host.label} has no {self._interpreter} for commands: {said}", hint=hint)
        if status is None or status < 0:
            return HostUnreachable(
                f"the connection to {self._host.label} broke while the agent started. {said}".strip()
            )
        hint = f"Is {self._interpreter} a Python, and does it run there? Another: --python /path/to/python3."
        return LaunchFailed(f"the agent on {self._host.label} ended at once (exit status {status}): {said}", hint=hint)
