"""What every target and every host must do. Runs in the notebook's kernel, the server and the command line."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..job import NativeId, Resources
from ..wire import Channel

#: Told, in one short line, what a slow step is doing ("installing ipykernel on gpu1").
Notify = Callable[[str], None]

#: `open(READER)` reaches the host without naming a kernel: it reads what jobs left there.
READER = NativeId("-")


class TargetStatus(enum.Enum):
    """What a target says of a kernel it launched."""

    PENDING = "PENDING"
    ALIVE = "ALIVE"
    GONE = "GONE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of `%lepton_target test`: a question, its answer, and what to do when it is not well."""

    subject: str  # "reachable", "Python", "GPU" …
    ok: bool | None  # None = neither good nor bad ("no GPU")
    value: str
    cure: str = ""


class Target(Protocol):
    """A place to run kernels. Everything after `open()` is the same for every target."""

    name: str

    def launch(self, resources: Resources, notify: Notify, env: dict[str, Any] | None = None) -> NativeId:
        """Make an agent with its kernel exist; on success `open` works. Raises TargetError.

        `env` says which packages its Python shall have, as `EnvSpec.to_json` writes it; None takes it as it is.
        """

    def open(self, native_id: NativeId) -> Channel:
        """Bytes to and from the agent (an agent that is gone is read from the files it left). Raises TargetError."""

    def poll(self, native_ids: Collection[NativeId]) -> dict[NativeId, TargetStatus]:
        """The status of all of them, by one query. Raises TargetError when the target cannot be asked."""

    def stop(self, native_id: NativeId) -> None:
        """End the agent, its kernel and every process of theirs; on return they are gone. Gone already is fine."""

    def probe(self) -> list[Finding]:
        """What is there and what is missing, for `%lepton_target test`; failures are findings, not exceptions."""

    def close(self) -> None:
        """Let go of connections. Kernels live on."""


class Process(Channel, Protocol):
    """A command that runs on a host; its stdin and stdout are the channel."""

    def stderr(self) -> str:
        """The last 64 KiB it wrote to stderr so far."""

    def wait(self, timeout: float) -> int | None:
        """The exit status (-N: killed by signal N), or None while it runs."""


class Host(Protocol):
    """A machine we can reach: it starts commands. How (here, over SSH) is its own affair."""

    label: str  # for messages: "this machine", "ann@gpu1"

    def start(self, argv: Sequence[str]) -> Process:
        """Start `argv` in the user's home. Raises HostUnreachable, HostKeyUnknown, HostKeyChanged,
        AuthenticationFailed."""

    def close(self) -> None:
        """Let go of the connection; commands lose their channel."""
