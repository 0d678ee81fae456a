"""A host behind SSH: `[targets.NAME] kind = "ssh"`. Needs nothing there but sshd and python3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..config import state_dir
from ..errors import ConfigError, LeptonError
from ._agent import AgentConfig, AgentTarget
from ._base import Finding
from ._ssh import SSHHost


@dataclass(frozen=True, kw_only=True, slots=True)
class SSHConfig(AgentConfig):
    """`host` is an alias of ~/.ssh/config, or [user@]host[:port]; the rest of the login comes from that file."""

    host: str
    ssh_config: str = ""  # another file than ~/.ssh/config
    accept_host_key: str = ""  # the fingerprint (SHA256:…) that the user has compared; needed once


class SSHTarget(AgentTarget):
    """Kernels on a host behind SSH; one connection carries all of them."""

    Config = SSHConfig

    def __init__(self, name: str, config: SSHConfig, prompt: Callable[[str, bool], str]) -> None:
        self._ssh = SSHHost(
            config.host,
            prompt=prompt,
            known_hosts=state_dir() / "known_hosts",
            config_file=Path(config.ssh_config).expanduser() if config.ssh_config else None,
            accept_host_key=config.accept_host_key,
        )
        super().__init__(name, config, self._ssh)

    @classmethod
    def options_from_url(cls, url: str) -> dict[str, Any]:
        """`ssh://[user@]host[:port]` as the key `host`. Raises ConfigError for a path or a password in it."""
        place = url.removeprefix("ssh://").rstrip("/")
        if not place or "/" in place or "?" in place:
            raise ConfigError(f"{url!r} is no URL of an SSH host", hint="Write ssh://host, or ssh://user@host:port")
        if ":" in place.rpartition("@")[0]:
            raise ConfigError("a password has no place in a URL", hint="It is asked for when needed, and never stored.")
        return {"host": unquote(place)}

    def probe(self) -> list[Finding]:
        try:
            seconds = self._ssh.ping(10.0)
        except LeptonError as error:
            return [Finding(subject="reachable", ok=False, value=error.message, cure=error.hint)]
        reached = Finding(subject="reachable", ok=True, value=f"{self._ssh.label}, round trip {seconds * 1e3:.0f} ms")
        return [reached, *(finding for finding in super().probe() if finding.subject != "reachable" or not finding.ok)]


PLUGIN = SSHTarget
