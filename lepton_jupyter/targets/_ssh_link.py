"""One encrypted connection to one host, and the byte stream beneath it. Runs in the notebook's kernel; needs paramiko.

Imported by `_ssh` at the first connection only. What is here and not left to paramiko was measured or read there:

* its default ciphers put AES-GCM last, its window of 2 MB limits a 50 ms link to 40 MB/s;
* it drops the signal that killed a command, and prints its errors when nobody configured logging.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, cast

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST

from ..errors import HostUnreachable
from ._ssh_config import HostConfig
from ._ssh_hostkeys import HostKey
from ._ssh_stream import CommandSocket, Socket, Stream

WINDOW = 64 << 20
MAX_PACKET = 128 << 10
#: AES may encrypt more than paramiko's 512 MiB under one key (RFC 4344: 64 GiB); each change of keys stops the link.
REKEY_BYTES = 4 << 30
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
LOG = "lepton_jupyter.ssh"
logging.getLogger(LOG).addHandler(logging.NullHandler())
if not logging.getLogger(LOG).level:
    logging.getLogger(LOG).setLevel(logging.CRITICAL)  # every failure becomes an error of ours; DEBUG shows paramiko's


def _keep_exit_signal(channel: paramiko.Channel, message: paramiko.Message) -> None:
    """Note the signal that ended the command, then let paramiko handle the request as always."""
    start = message.packet.tell()
    if message.get_text() == "exit-signal":
        message.get_boolean()
        cast("Any", channel).exit_signal = message.get_text()
    message.packet.seek(start)
    cast("Any", channel)._handle_request(message)


class _Transport(paramiko.Transport):
    _channel_handler_table = {  # noqa: RUF012 - paramiko's own table with one entry replaced
        **cast("Any", paramiko.Transport)._channel_handler_table,
        MSG_CHANNEL_REQUEST: _keep_exit_signal,
    }


class Link:
    """A connection whose keys are agreed; `_ssh_login` makes it one that is logged in."""

    def __init__(
        self, sock: Socket, config: HostConfig, algorithms: list[str], timeout: float, below: Link | None = None
    ) -> None:
        """Agree on keys over `sock`, which ends with this link, as `below` does. Raises HostUnreachable."""
        self._config = config
        self._below = below
        self._stream = Stream(sock)
        self._asking = threading.Lock()
        self._ended = threading.Event()
        self.transport = _Transport(
            cast("Any", self._stream), default_window_size=WINDOW, default_max_packet_size=MAX_PACKET
        )
        self.transport.set_log_channel(LOG)
        options = self.transport.get_security_options()
        options.ciphers = CIPHERS
        options.key_types = algorithms
        self.transport.packetizer.REKEY_BYTES = REKEY_BYTES
        self.transport.banner_timeout = self.transport.handshake_timeout = timeout
        self.transport.channel_timeout = 30
        self.transport.auth_timeout = 75  # an agent may wait for its user to confirm
        try:
            self.transport.start_client()
            key = self.transport.get_remote_server_key()
        except (paramiko.SSHException, EOFError, OSError) as error:
            greeted = bool(self.transport.remote_version)
            self.close()
            if isinstance(sock, CommandSocket) and not greeted:
                raise sock.failure() from error
            raise _no_handshake(error, config, timeout, greeted) from error
        self.host_key = HostKey(type=key.get_name(), blob=key.asbytes())

    @property
    def alive(self) -> bool:
        return self.transport.is_active() and self.transport.is_authenticated()

    @property
    def silence(self) -> float:
        """Seconds since the other end was heard."""
        return self._stream.silence

    def keep_alive(self) -> None:
        """From here on ask the other end for a sign of life, and end the connection when there is none."""
        interval = self._config.alive_interval
        if not interval:
            return
        self._stream.dead_after = interval * max(1, self._config.alive_count)

        def ask() -> None:
            while not self._ended.wait(interval) and self.transport.is_active():
                if self._stream.silence >= interval / 2:
                    self._ask()

        threading.Thread(target=ask, name=f"keep-alive of {self._config.alias}", daemon=True).start()

    def ping(self, timeout: float) -> float:
        """Seconds that a question and its answer take. Raises HostUnreachable when there is none in `timeout`."""
        took: list[float] = []
        thread = threading.Thread(target=lambda: took.append(self._ask()), name="ping", daemon=True)
        thread.start()
        thread.join(timeout)
        if not took or not self.alive:
            raise HostUnreachable(f"{self._config.alias} did not answer within {timeout:g} s")
        return took[0]

    def _ask(self) -> float:
        with self._asking:  # paramiko keeps one pending question only
            start = time.monotonic()
            try:
                self.transport.global_request("keepalive@openssh.com", wait=True)
            except (paramiko.SSHException, EOFError, OSError):
                pass  # the connection ends; `alive` says so
            return time.monotonic() - start

    def close(self) -> None:
        """End the connection, and those that carry it."""
        self._ended.set()
        self.transport.close()
        self._stream.close()
        self.transport.packetizer.complete_handshake()  # else its timer would hold the interpreter's exit
        if self._below:
            self._below.close()


def _no_handshake(error: Exception, config: HostConfig, timeout: float, greeted: bool) -> HostUnreachable:
    where = config.where
    if not greeted:
        return HostUnreachable(
            f"{where} took the connection but did not greet as an SSH server within {timeout:g} s",
            hint="Is the port right? A server with too many open logins (MaxStartups) also answers like this.",
        )
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return HostUnreachable(f"{where} offers no encryption that we accept: {error}")
    return HostUnreachable(f"{where} broke off while keys were agreed on: {str(error) or 'no answer'}")


def connect_through(below: Link, config: HostConfig, timeout: float) -> Socket:
    """A stream from the host of `below` to that of `config`. Raises HostUnreachable."""
    where = config.where
    try:
        return below.transport.open_channel(
            "direct-tcpip", (config.hostname, config.port), ("127.0.0.1", 0), timeout=timeout
        )
    except paramiko.ChannelException as error:
        if error.code == 1:
            raise HostUnreachable(
                f"the jump host {below._config.alias} does not let us through to {where}",
                hint="AllowTcpForwarding and PermitOpen in its sshd_config decide that.",
            ) from error
        raise HostUnreachable(f"the jump host {below._config.alias} cannot reach {where}: {error.text}") from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise HostUnreachable(f"the way through {below._config.alias} to {where} broke: {error}") from error
