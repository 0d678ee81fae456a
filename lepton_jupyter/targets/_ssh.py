"""A host behind SSH: it starts commands, over one connection that all threads share. Runs in the notebook's kernel.

This file only knows hosts and commands. How the configuration is read, host keys are checked, bytes get there and a
login is made is in `_ssh_config`, `_ssh_hostkeys`, `_ssh_stream` with `_ssh_link`, and `_ssh_login`. paramiko is
imported at the first connection, because its import costs half a second.
"""

from __future__ import annotations

import re
import shlex
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HostUnreachable, MissingDependency, TargetError
from ._ssh_config import HostConfig, resolve
from ._ssh_hostkeys import ALGORITHMS, KnownHosts, same_fingerprint

if TYPE_CHECKING:
    import paramiko

    from ._ssh_link import Link
    from ._ssh_login import Prompt, Secrets

STDERR_TAIL = 1 << 16
_SEND = 128 << 10
_MAX_HOPS = 8
_LOGINS = 4  # connections that one login may take when the host hangs up on too many attempts
_SILENCE = 3.0  # seconds after which a link is asked for a sign of life before it is used again
_ANSWER_WITHIN = 2.0
_PLAIN = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/.,:@+=-]*|-[A-Za-z0-9_/.,:@+=-]*")


def command_line(argv: Sequence[str]) -> str:
    """One line that starts `argv` whatever the user's login shell is (sh, bash, zsh, fish, csh).

    Words of harmless letters stand as they are. Anything else travels as octal numbers inside single quotes, which all
    of these shells read alike, and is decoded by `sh`; so quotes, spaces and newlines are safe in any of them.
    """
    if all(_PLAIN.fullmatch(word) for word in argv):
        return "exec " + " ".join(argv)
    script = "exec " + shlex.join(argv)
    octal = "".join(
        chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in " _/.,:=+-") else f"\\0{byte:03o}"
        for byte in script.encode(errors="surrogateescape")
    )
    return f'exec sh -c \'eval "$(printf %b "{octal}")"\''


class SSHProcess:
    """A command on the host; its stdin and stdout are the channel. See `_base.Process`."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._ahead = memoryview(b"")
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._tail = bytearray()
        self._drain = threading.Thread(target=self._drain_stderr, name="stderr over ssh", daemon=True)
        self._drain.start()

    def read(self, n: int) -> bytes:
        with self._reading:
            if not self._ahead:
                # All there is at once: paramiko moves the rest of its buffer (up to the window) at every partial read.
                self._ahead = memoryview(self._channel.recv(1 << 30))
            data, self._ahead = self._ahead[:n], self._ahead[n:]
            return bytes(data)

    def write(self, data: bytes) -> None:
        with self._writing, memoryview(data) as view:
            sent = 0
            while sent < len(view):
                # Never `sendall`: it copies all that is left at every packet.
                count = self._channel.send(bytes(view[sent : sent + _SEND]))
                if not count or self._channel.closed:
                    raise EOFError("the command has ended or the connection is lost")
                sent += count

    def stderr(self) -> str:
        return bytes(self._tail).decode(errors="replace")

    def wait(self, timeout: float) -> int | None:
        """As in `_base.Process`; -1 (hung up) also when the channel ended, or was closed, before the command."""
        if not self._channel.status_event.wait(timeout):
            return None
        self._drain.join(1.0)  # its last words are complete once the process is gone
        name = getattr(self._channel, "exit_signal", "")
        if name:
            return -getattr(signal, f"SIG{name}", signal.SIGKILL)
        return self._channel.exit_status

    def close(self) -> None:
        # On a stalled link the goodbye to the host may take long, but readers must wake now.
        goodbye = threading.Thread(target=self._say_goodbye, name="ssh channel close", daemon=True)
        goodbye.start()
        goodbye.join(1.0)

    def _say_goodbye(self) -> None:
        try:
            self._channel.close()
        except (OSError, EOFError):
            pass  # the link is gone, and the channel with it

    def _drain_stderr(self) -> None:
        while data := self._channel.recv_stderr(1 << 30):
            self._tail += data
            del self._tail[:-STDERR_TAIL]


class SSHHost:
    """A host behind SSH; see `_base.Host`.

    One connection serves every command and thread. It is opened by the first `start`, and opened anew by the next
    `start` after it broke.
    """

    def __init__(
        self,
        address: str,
        *,
        prompt: Prompt,
        known_hosts: Path,
        config_file: Path | None = None,
        accept_host_key: str = "",
        connect_timeout: float | None = None,
    ) -> None:
        """`address` is an alias of ~/.ssh/config, user@host or user@host:port; nothing is contacted yet.

        `known_hosts` is our own file of accepted host keys, beside those of OpenSSH. Raises ConfigError.
        """
        self._config = resolve(address, config_file)
        self._config_file = config_file
        self._known_hosts = known_hosts
        self._accept_host_key = accept_host_key
        self._connect_timeout = connect_timeout
        self._prompt = prompt
        self._secrets: Secrets | None = None
        self._opening = threading.Lock()
        self._link: Link | None = None
        self._closed = 0
        self.label = f"{self._config.user}@{self._config.alias}"

    def start(self, argv: Sequence[str]) -> SSHProcess:
        """Start `argv` in the user's home, without terminal, on the shared connection.

        Raises HostUnreachable, HostKeyUnknown, HostKeyChanged, AuthenticationFailed, and TargetError when the host
        allows no further channel.
        """
        channel = self._channel()
        try:
            channel.exec_command(command_line(argv))
        except self._broken as error:
            channel.close()
            if self._link and self._link.alive:
                raise TargetError(f"{self.label} does not let us run commands: {error}") from error
            raise HostUnreachable(f"the connection to {self.label} broke while a command was started") from error
        return SSHProcess(channel)

    def ping(self, timeout: float) -> float:
        """Seconds that a question and its answer take on the open connection (opened when there is none).

        Raises what `start` raises.
        """
        return self._open().ping(timeout)

    def close(self) -> None:
        """Let go of the connection; commands lose their channel."""
        self._closed += 1
        link, self._link = self._link, None
        if link:
            link.close()

    @property
    def _broken(self) -> tuple[type[Exception], ...]:
        import paramiko

        return (paramiko.SSHException, EOFError, OSError)

    def _channel(self) -> paramiko.Channel:
        """A fresh channel; a connection that turns out to be dead is replaced once."""
        for last in (False, True):
            link = self._open()
            try:
                return link.transport.open_session()
            except self._broken as error:
                # paramiko's two ways to say that the host answered, and the answer was no.
                if link.alive and (hasattr(error, "code") or "Unable to open" in str(error)):
                    raise TargetError(
                        f"{self.label} allows no further channel: {getattr(error, 'text', '') or error}",
                        hint="Its sshd_config limits them by MaxSessions (10 unless set). "
                        "Fewer cells at once, or a larger MaxSessions there.",
                    ) from error
                link.close()
                if last:
                    raise HostUnreachable(f"the connection to {self.label} breaks as soon as it is made") from error
        raise AssertionError

    def _open(self) -> Link:
        with self._opening:
            if self._link and self._link.alive and (self._link.silence < _SILENCE or self._answers(self._link)):
                return self._link
            if self._link:
                self._link.close()
                self._link = None
            before = self._closed
            link = self._connect(self._config)
            if before != self._closed:
                link.close()
                raise HostUnreachable(f"{self.label} was closed while it was being connected")
            self._link = link
            return link

    def _answers(self, link: Link) -> bool:
        """Whether a link that has been silent is one that still carries bytes: a cut cable ends no connection."""
        try:
            link.ping(_ANSWER_WITHIN)
        except HostUnreachable:
            return False
        return True

    def _connect(self, config: HostConfig, hops: int = 0) -> Link:
        """A connection that is logged in, through its jump hosts where it has some."""
        if hops > _MAX_HOPS:
            raise HostUnreachable(f"the jump hosts of {self.label} go round in a circle (ProxyJump)")
        try:
            from ._ssh_login import HungUp, Login, Secrets
        except ModuleNotFoundError as error:
            raise MissingDependency(
                f"SSH needs the package {error.name!r}, which is not installed here",
                hint='Install it: pip install "lepton-jupyter[ssh]"',
            ) from None
        self._secrets = self._secrets or Secrets(self._prompt)
        login = Login(config, self._secrets)
        for last in (False,) * (_LOGINS - 1) + (True,):
            link = self._handshake(config, hops)
            try:
                login.run(link)
            except HungUp:
                link.close()
                if last:
                    raise login.failed() from None
                continue
            except BaseException:
                link.close()
                raise
            link.keep_alive()
            return link
        raise AssertionError

    def _handshake(self, config: HostConfig, hops: int) -> Link:
        """A connection to the right host: its key is known, or has just been accepted."""
        known = KnownHosts(config.known_hosts, self._known_hosts)
        link = self._new_link(config, hops, known.algorithms(config.key_name))
        try:
            if self._accept_host_key and not known.knows(config.key_name):
                link = self._with_accepted_key(link, config, hops)
            accepted = self._accept_host_key
            if hops and not same_fingerprint(accepted, link.host_key.fingerprint):
                accepted = ""  # it was meant for another host on the way
            known.check(config.key_name, link.host_key, accepted, f"{config.user}@{config.alias}")
        except BaseException:
            link.close()
            raise
        return link

    def _with_accepted_key(self, link: Link, config: HostConfig, hops: int) -> Link:
        """A server has several keys: ask for the others when the one it showed is not the accepted one."""
        for kind, algorithms in ALGORITHMS.items():
            if same_fingerprint(self._accept_host_key, link.host_key.fingerprint):
                return link
            if kind == link.host_key.type:
                continue
            try:
                other = self._new_link(config, hops, list(algorithms))
            except HostUnreachable:
                continue  # it has no key of this kind
            if same_fingerprint(self._accept_host_key, other.host_key.fingerprint):
                link.close()
                return other
            other.close()
        return link

    def _new_link(self, config: HostConfig, hops: int, algorithms: list[str]) -> Link:
        from ._ssh_link import Link, connect_through
        from ._ssh_stream import CommandSocket, connect_tcp

        timeout = self._connect_timeout or config.connect_timeout
        if config.proxy_jump:
            below = self._connect_chain(config.proxy_jump, hops)
            try:
                return Link(connect_through(below, config, timeout), config, algorithms, timeout, below)
            except BaseException:
                below.close()
                raise
        if config.proxy_command:
            return Link(CommandSocket(config.proxy_command), config, algorithms, timeout)
        return Link(connect_tcp(config, timeout), config, algorithms, timeout)

    def _connect_chain(self, jumps: Sequence[str], hops: int) -> Link:
        """The last of the jump hosts, reached through those before it; the first goes by its own configuration."""
        from dataclasses import replace

        *before, last = jumps
        config = resolve(last, self._config_file)
        if before:
            config = replace(config, proxy_jump=tuple(before), proxy_command="")
        return self._connect(config, hops + 1)
