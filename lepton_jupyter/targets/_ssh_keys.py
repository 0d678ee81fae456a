"""Private keys: from files in any format OpenSSH reads, and from an agent. In the notebook's kernel; needs paramiko.

paramiko alone reads no PKCS#8 file, tries each of its classes in turn, and finds an agent by SSH_AUTH_SOCK only.
"""

from __future__ import annotations

import base64
import binascii
import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from paramiko.agent import AgentSSH

_AGENT_PATIENCE = 60.0  # an agent may ask its user for a confirmation or a touch


def load(data: bytes, passphrase: str | None) -> paramiko.PKey:
    """The private key in any format OpenSSH reads. TypeError: passphrase needed; ValueError: wrong, or no key."""
    password = passphrase.encode() if passphrase else None
    openssh = b"BEGIN OPENSSH PRIVATE KEY" in data
    key: Any = (serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key)(data, password)
    kinds: list[tuple[Any, Any]] = [
        (rsa.RSAPrivateKey, paramiko.RSAKey),
        (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
        (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
    ]
    for kind, make in kinds:
        if isinstance(key, kind):
            text = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            ).decode()
            return cast("paramiko.PKey", make.from_private_key(io.StringIO(text)))
    raise ValueError(f"keys of the kind {type(key).__name__} are not supported")


def fits(key: paramiko.PKey, certificate: Path) -> bool:
    """Load `certificate` into `key`; False when it is not the certificate of this key."""
    try:
        key.load_certificate(str(certificate))
    except (ValueError, OSError, paramiko.SSHException):
        return False
    return True


def public_blob(path: Path) -> bytes:
    """The public half of a key file, read from the `.pub` beside it; b"" when there is none."""
    for name in (path.with_name(path.name + ".pub"), path):
        try:
            fields = name.read_text(errors="replace").split()
            if len(fields) >= 2 and not fields[0].startswith("-"):
                return base64.b64decode(fields[1], validate=True)
        except (OSError, binascii.Error):
            continue
    return b""


class _Agent(AgentSSH):
    """The SSH agent behind a socket of our choice; paramiko's own class only looks at SSH_AUTH_SOCK."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        cast("Any", self)._connect(sock)


@contextmanager
def agent(path: str) -> Iterator[list[paramiko.AgentKey]]:
    """The keys of the agent at `path`, usable inside the block; none when there is no agent."""
    if not path:
        yield []
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_AGENT_PATIENCE)
        try:
            sock.connect(path)
            keys = list(_Agent(sock).get_keys())
        except (OSError, paramiko.SSHException):
            keys = []  # an agent that does not run has no keys, as for `ssh`
        yield keys
