"""What ssh_config(5) says about a host. Runs in the notebook's kernel.

Whoever can type `ssh gpu1` must be able to name `gpu1` here, so the file is read the way OpenSSH reads it: top to
bottom, the first value wins, `Include` and `Match` in place. Read by ourselves because paramiko's reader has no
`Include`, drops quotes and needs a further package for `Match exec`. Compared with `ssh -G` in the tests.

Not honoured: canonicalisation of names (`CanonicalizeHostname`), `KnownHostsCommand`, and `StrictHostKeyChecking`
(host keys are always checked).
"""

from __future__ import annotations

import getpass
import glob
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import ConfigError

USER_CONFIG = Path("~/.ssh/config")
SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_REPEATABLE = {"identityfile", "certificatefile"}
_WHOLE_LINE = {"proxycommand"}
_MAX_DEPTH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class HostConfig:
    """Everything that decides how to reach and enter one host."""

    alias: str  # what the user calls it
    hostname: str
    port: int
    user: str
    identity_files: tuple[Path, ...]
    certificate_files: tuple[Path, ...]
    identities_only: bool
    identity_agent: str  # path of the agent's socket; "" = there is none
    proxy_jump: tuple[str, ...]
    proxy_command: str
    known_hosts: tuple[Path, ...]
    host_key_alias: str
    connect_timeout: float
    alive_interval: float  # seconds of silence before we ask whether the other end lives; 0 = never ask
    alive_count: int

    @property
    def where(self) -> str:
        """Address and port, for messages; an IPv6 address stands in brackets."""
        return f"[{self.hostname}]:{self.port}" if ":" in self.hostname else f"{self.hostname}:{self.port}"

    @property
    def key_name(self) -> str:
        """The name that known_hosts files use for this host."""
        if self.host_key_alias:
            return self.host_key_alias
        name = self.hostname.lower()
        return name if self.port == 22 else f"[{name}]:{self.port}"


def split_address(address: str) -> tuple[str, str, int | None]:
    """``[ssh://][user@]host[:port]`` as (user, host, port); IPv6 with a port needs brackets. Raises ConfigError."""
    rest = address.removeprefix("ssh://").rstrip("/")
    user, at, rest = rest.rpartition("@")
    match = re.fullmatch(r"\[([^\]]+)\](?::(\d+))?", rest) or re.fullmatch(r"([^:]+)(?::(\d+))?", rest)
    if (match is None and rest.count(":") < 2) or rest.startswith("-") or (at and not user) or not rest:
        raise ConfigError(
            f"{address!r} is not an SSH address",
            hint="Write an alias of ~/.ssh/config, user@host, user@host:port or user@[IPv6]:port.",
        )
    if match is None:
        return user, rest, None
    port = int(match[2]) if match[2] else None
    if port is not None and not 0 < port < 65536:
        raise ConfigError(f"{address!r}: a port is between 1 and 65535")
    return user, match[1], port


def resolve(address: str, config_file: Path | None = None) -> HostConfig:
    """How to reach `address`, by `config_file` alone or else by the user's and the system's files.

    Raises ConfigError when the address or a file cannot be understood. Files that do not exist are no error.
    """
    user, alias, port = split_address(address)
    reader = _Reader(alias, {"user": user} if user else {})
    if port is not None:
        reader.values["port"] = [str(port)]
    for path in (config_file,) if config_file else (USER_CONFIG, SYSTEM_CONFIG):
        reader.read(path.expanduser(), active=True)
    return _host_config(alias, reader)


class _Reader:
    """Collects the first value of every keyword that applies to one host."""

    def __init__(self, alias: str, given: dict[str, str]) -> None:
        self.alias = alias
        self.values: dict[str, list[str]] = {key: [value] for key, value in given.items()}

    def get(self, keyword: str, default: str = "") -> str:
        return self.values.get(keyword, [default])[0]

    def hostname(self) -> str:
        return expand(self.get("hostname", self.alias), {"h": self.alias, "n": self.alias})

    def read(self, path: Path, active: bool, depth: int = 0) -> None:
        if depth > _MAX_DEPTH:
            raise ConfigError(f"{path}: files include one another without end")
        try:
            lines = path.read_text(errors="surrogateescape").splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
        outer = active
        for number, line in enumerate(lines, 1):
            where = f"{path}, line {number}"
            keyword, rest = _keyword(line, where)
            if keyword == "host":
                active = outer and _matches(self.alias, _words(rest, where))
            elif keyword == "match":
                active = outer and self._match(_words(rest, where), where)
            elif keyword == "include":
                for included in _included(_words(rest, where), path):
                    self.read(included, active, depth + 1)
            elif keyword and active:
                self._keep(keyword, rest, where)

    def _keep(self, keyword: str, rest: str, where: str) -> None:
        words = [rest] if keyword in _WHOLE_LINE else _words(rest, where)
        if not words:
            raise ConfigError(f"{where}: {keyword} has no value")
        if keyword in _REPEATABLE:
            self.values.setdefault(keyword, []).extend(words[:1])
        elif keyword in ("proxyjump", "proxycommand"):
            if "proxyjump" not in self.values and "proxycommand" not in self.values:
                self.values[keyword] = words
        else:
            self.values.setdefault(keyword, words)

    def _match(self, words: list[str], where: str) -> bool:
        words = list(words)
        result = True
        while words:
            criterion = words.pop(0).lower()
            negated, criterion = criterion.startswith("!"), criterion.removeprefix("!")
            if criterion in ("canonical", "final"):  # a second pass over the file, which we do not make
                result &= negated
                continue
            if criterion == "all":
                result &= not negated
                continue
            if not words:
                raise ConfigError(f"{where}: Match {criterion} has no value")
            value = words.pop(0)
            # A command is run only when all before it holds, as OpenSSH does.
            if result:
                result = self._holds(criterion, value, where) != negated
        return result

    def _holds(self, criterion: str, value: str, where: str) -> bool:
        if criterion == "exec":
            command = expand(value, _tokens(self))
            done = subprocess.run(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True)
            return done.returncode == 0
        subjects = {
            "host": self.hostname(),
            "originalhost": self.alias,
            "user": self.get("user", getpass.getuser()),
            "localuser": getpass.getuser(),
        }
        if criterion not in subjects:
            raise ConfigError(
                f"{where}: Match {criterion} is not supported",
                hint="Known: all, canonical, exec, final, host, localuser, originalhost, user.",
            )
        return _matches(subjects[criterion], value.split(","))


def _keyword(line: str, where: str) -> tuple[str, str]:
    line = line.strip()
    if not line or line.startswith("#"):
        return "", ""
    match = re.fullmatch(r'"?([A-Za-z0-9]+)"?(?:\s*=\s*|\s+)(.+)', line)
    if match is None:
        raise ConfigError(f"{where} is not of the form KEYWORD VALUE")
    return match[1].lower(), match[2]


def _words(text: str, where: str) -> list[str]:
    """Words as OpenSSH splits them: quotes group, ``#`` at the start of a word ends the line."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = list(lexer)
    except ValueError:
        raise ConfigError(f"{where}: a quote is not closed") from None
    for index, word in enumerate(words):
        if word.startswith("#"):
            return words[:index]
    return words


def _matches(subject: str, patterns: list[str]) -> bool:
    found = False
    for pattern in patterns:
        negated = pattern.startswith("!")
        # fnmatch would read "[" as a set, OpenSSH does not.
        if fnmatchcase(subject, pattern.removeprefix("!").replace("[", "[[]")):
            if negated:
                return False
            found = True
    return found


def _included(patterns: list[str], including: Path) -> Iterator[Path]:
    base = Path("/etc/ssh") if including.is_relative_to("/etc/ssh") else Path("~/.ssh").expanduser()
    for pattern in patterns:
        path = os.path.join(base, os.path.expanduser(pattern))
        yield from (Path(name) for name in sorted(glob.glob(path)))


def expand(text: str, tokens: dict[str, str]) -> str:
    """``%x`` by `tokens` and ``%%`` in `text`. Raises ConfigError for an unknown one."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "%":
            return "%"
        if match[1] not in tokens:
            raise ConfigError(f"%{match[1]} in {text!r} of the SSH configuration is not supported")
        return tokens[match[1]]

    return re.sub(r"%(.)", value, text)


def _tokens(reader: _Reader) -> dict[str, str]:
    local = socket.gethostname()
    return {
        "d": str(Path.home()),
        "h": reader.hostname(),
        "i": str(os.getuid()),
        "k": reader.get("hostkeyalias", reader.alias),
        "L": local.split(".")[0],
        "l": local,
        "n": reader.alias,
        "p": reader.get("port", "22"),
        "r": reader.get("user", getpass.getuser()),
        "u": getpass.getuser(),
    }


def _host_config(alias: str, reader: _Reader) -> HostConfig:
    tokens = _tokens(reader)

    def paths(keyword: str, *defaults: str) -> tuple[Path, ...]:
        names = reader.values.get(keyword) or defaults
        return tuple(_path(name, tokens) for name in names if name.lower() != "none")

    jump, agent = reader.get("proxyjump", "none"), reader.get("identityagent", "SSH_AUTH_SOCK")
    command = reader.get("proxycommand", "none")
    if agent == "SSH_AUTH_SOCK" or agent.startswith("$"):
        agent = os.environ.get(agent.strip("${}"), "")
    return HostConfig(
        alias=alias,
        hostname=tokens["h"],
        port=int(_number(reader, "port", 22)),
        user=tokens["r"],
        identity_files=paths("identityfile", *DEFAULT_KEYS),
        certificate_files=paths("certificatefile"),
        identities_only=_yes(reader, "identitiesonly"),
        identity_agent="" if agent.lower() == "none" or not agent else str(_path(agent, tokens)),
        proxy_jump=() if jump.lower() == "none" else tuple(expand(hop.strip(), tokens) for hop in jump.split(",")),
        proxy_command="" if command.lower() == "none" else expand(command, tokens),
        known_hosts=paths("userknownhostsfile", "~/.ssh/known_hosts", "~/.ssh/known_hosts2")
        + paths("globalknownhostsfile", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"),
        host_key_alias=reader.get("hostkeyalias"),
        connect_timeout=_number(reader, "connecttimeout", 10),
        alive_interval=_number(reader, "serveraliveinterval", 5),
        alive_count=int(_number(reader, "serveralivecountmax", 3)),
    )


def _path(name: str, tokens: dict[str, str]) -> Path:
    name = re.sub(r"\$\{(\w+)\}", lambda match: os.environ.get(match[1], ""), name)
    return Path(os.path.expanduser(expand(name, tokens)))


def _yes(reader: _Reader, keyword: str) -> bool:
    return reader.get(keyword, "no").lower() in ("yes", "true")


def _number(reader: _Reader, keyword: str, default: float) -> float:
    """A count or an OpenSSH time ("30", "1m", "1h30m")."""
    text = reader.get(keyword, str(default)).lower()
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    if text in ("none", "0"):
        return default if keyword == "connecttimeout" else 0
    parts = re.findall(r"(\d+)([smhdw]?)", text)
    if "".join(number + unit for number, unit in parts) != text:
        raise ConfigError(f"{keyword} {text!r} of the SSH configuration is not a number")
    return float(sum(int(number) * units[unit] for number, unit in parts))
