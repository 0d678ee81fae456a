"""Is this host the one it was last time? Runs in the notebook's kernel.

The policy: a key that a known_hosts file holds for the host is accepted; a host that no file knows is refused with its
fingerprint until the user accepts exactly that fingerprint; a host that presents another key than the one on file is
always refused. OpenSSH's files are only read; accepted keys go to a file of our own. Files are read by ourselves
because paramiko's reader takes ``@revoked`` and ``@cert-authority`` lines for host names and knows no patterns.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import HostKeyChanged, HostKeyUnknown, HostStorage

#: Key type on file -> the names by which the handshake asks for such a key, best first.
ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class HostKey:
    """A host's public key as it crosses the wire."""

    type: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def kind(self) -> str:
        """ "ED25519", "ECDSA" or "RSA"."""
        return self.type.removeprefix("ssh-").split("-")[0].upper()


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of a known_hosts file that speaks of a host."""

    key: HostKey
    where: str  # "FILE, line N"
    revoked: bool


class KnownHosts:
    """What the known_hosts files say, and the one file that we may add to."""

    def __init__(self, files: Iterable[Path], own: Path) -> None:
        self._own = own
        self._files = [*files, own]

    def algorithms(self, name: str) -> list[str]:
        """All host key algorithms, those first of which a key of the host is on file.

        Without this a server with several keys would present one that we do not know.
        """
        known = [entry.key.type for entry in self._entries(name) if not entry.revoked]
        ordered = sorted(ALGORITHMS, key=lambda type_: type_ not in known)
        return [algorithm for type_ in ordered for algorithm in ALGORITHMS[type_]]

    def knows(self, name: str) -> bool:
        """Whether a key that we can check is on file for the host."""
        return any(entry.key.type in ALGORITHMS and not entry.revoked for entry in self._entries(name))

    def check(self, name: str, key: HostKey, accepted: str, label: str) -> None:
        """Return when `key` may be trusted as the key of the host `name`.

        `accepted` is the fingerprint that the user accepted for a first contact ("" = none); when it is that of `key`,
        the key is added to our own file. Raises HostKeyUnknown or HostKeyChanged; `label` is the host in the messages.
        """
        entries = [entry for entry in self._entries(name) if entry.key.type in ALGORITHMS]
        for entry in entries:
            if entry.revoked and entry.key == key:
                raise HostKeyChanged(
                    f"{label} presents the {key.kind} key {key.fingerprint}, which {entry.where} marks as revoked",
                    hint="Do not connect; ask the host's administrator for its new key.",
                )
        valid = [entry for entry in entries if not entry.revoked]
        if any(entry.key == key for entry in valid):
            return
        if valid:
            self._refuse_changed(key, valid, label)
        # OpenSSH, too, takes an entry without port for a host at another port, when it matches.
        plain = name[1:].rpartition("]:")[0] if name.startswith("[") else ""
        if plain and any(entry.key == key and not entry.revoked for entry in self._entries(plain)):
            return
        if not accepted:
            raise HostKeyUnknown(
                f"{label} is not known yet; its {key.kind} key has the fingerprint {key.fingerprint}",
                hint="Compare it with what the host's administrator says, or with `ssh-keygen -lf "
                f"/etc/ssh/ssh_host_{key.kind.lower()}_key.pub` on the host. If it is the same:\n"
                f"%lepton_target add NAME URL --accept-host-key {key.fingerprint}",
            )
        if not same_fingerprint(accepted, key.fingerprint):
            raise HostKeyUnknown(
                f"{label} presents the {key.kind} key {key.fingerprint}, not the accepted {accepted}",
                hint="Someone else may answer in its place. Do not accept the new fingerprint before you have compared "
                f"it with `ssh-keygen -lf /etc/ssh/ssh_host_{key.kind.lower()}_key.pub` on the host itself.",
            )
        self._add(name, key)

    def _refuse_changed(self, key: HostKey, valid: list[Entry], label: str) -> None:
        same_type = [entry for entry in valid if entry.key.type == key.type]
        entry = (same_type or valid)[0]
        raise HostKeyChanged(
            f"{label} presents another key than before: {key.kind} {key.fingerprint}, "
            f"but {entry.where} holds {entry.key.kind} {entry.key.fingerprint}",
            hint="Someone may be intercepting the connection, or the host was installed anew. "
            "Only if you know the reason: delete that line, and accept the new key at the next contact.",
        )

    def _entries(self, name: str) -> Iterator[Entry]:
        for path in self._files:
            try:
                lines = path.read_text(errors="replace").splitlines()
            except OSError:
                continue  # a file that is not there, or not ours to read, vouches for nothing
            for number, line in enumerate(lines, 1):
                entry = _parse(line, name, f"{path}, line {number}")
                if entry:
                    yield entry

    def _add(self, name: str, key: HostKey) -> None:
        """Append a line to our file: written anew beside it and renamed, so that no reader sees half of it."""
        line = f"{name} {key.type} {base64.b64encode(key.blob).decode()}\n"
        try:
            self._own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            before = self._own.read_text() if self._own.exists() else ""
            handle, temporary = tempfile.mkstemp(dir=self._own.parent, prefix=".known_hosts-")  # 0600
            with os.fdopen(handle, "w") as file:
                file.write(before if not before or before.endswith("\n") else before + "\n")
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._own)
        except OSError as error:
            raise HostStorage(f"the accepted key cannot be kept in {self._own}: {error.strerror}") from error


def _parse(line: str, name: str, where: str) -> Entry | None:
    """The entry of `line` when it speaks of the host `name` and is one that we can use."""
    fields = line.split()
    if not fields or fields[0].startswith("#"):
        return None
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    # A @cert-authority line vouches for certificates, which we never ask for; it must not vouch for a plain key.
    if marker not in ("", "@revoked") or len(fields) < 3 or not _speaks_of(fields[0], name):
        return None
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except binascii.Error:
        return None
    size = int.from_bytes(blob[:4], "big")
    if blob[4 : 4 + size] != fields[1].encode():
        return None
    return Entry(key=HostKey(type=fields[1], blob=blob), where=where, revoked=bool(marker))


def _speaks_of(names: str, name: str) -> bool:
    if names.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part, validate=True) for part in names[3:].split("|"))
        except ValueError:
            return False
        return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
    found = False
    for pattern in names.split(","):
        matches = fnmatchcase(name, pattern.removeprefix("!").lower().replace("[", "[[]"))
        if matches and pattern.startswith("!"):
            return False
        found |= matches
    return found


def same_fingerprint(accepted: str, presented: str) -> bool:
    """The digest is compared in full and with its case; its "=" padding and the prefix may be left out."""
    return accepted.strip().removeprefix("SHA256:").rstrip("=") == presented.removeprefix("SHA256:")
