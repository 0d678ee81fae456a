"""Where things are kept and which targets there are: one TOML file, one rule of precedence.

Runs in the notebook's kernel, the server and the command line.

**Precedence**, everywhere the same: an option of the magic or the command line, then the environment variable, then
``lepton.toml``, then the built-in default.

============== ================= ====================== ==========================================
what           environment       lepton.toml            built-in default
============== ================= ====================== ==========================================
this file      LEPTON_CONFIG                            ``lepton.toml`` in Jupyter's config folder
state folder   LEPTON_HOME                              ``lepton`` in Jupyter's data folder
default target LEPTON_TARGET     ``default = "NAME"``   ``local``
card of a cell                   ``card = true``        ``false``; ``--card`` and ``--no-card`` say otherwise
a target's key                   ``[targets.NAME]``     the target plug-in's own default
============== ================= ====================== ==========================================

What keys a target may have is its plug-in's affair (``targets/_options.py``); this module knows names and kinds only.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import stat
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError

from .errors import ConfigError

LOCAL = "local"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[smhd])+")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([kmgt]?)(i?)b")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TOP_KEYS = ("card", "default", "targets")


def config_path() -> Path:
    """The file of targets and defaults; it need not exist."""
    named = os.environ.get("LEPTON_CONFIG")
    if named:
        return Path(named).expanduser()
    from jupyter_core.paths import jupyter_config_dir

    return Path(jupyter_config_dir()) / "lepton.toml"


def state_dir() -> Path:
    """The folder of the job store and the blob cache: there, ours and closed to others. Raises ConfigError."""
    named = os.environ.get("LEPTON_HOME")
    if named:
        return private_folder(Path(named).expanduser())
    from jupyter_core.paths import jupyter_data_dir

    return private_folder(Path(jupyter_data_dir()) / "lepton")


def private_folder(path: Path) -> Path:
    """Make `path` exist with mode 0700, created that way; one that others may enter is refused with ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.stat()
    except OSError as error:
        raise ConfigError(
            f"the folder {path} cannot be made: {error.strerror}",
            hint="LEPTON_HOME names another folder for lepton's state.",
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path} is not a folder", hint="LEPTON_HOME names another folder for lepton's state.")
    if sys.platform != "win32" and found.st_uid != os.geteuid():
        raise ConfigError(
            f"the folder {path} belongs to another user", hint="Let LEPTON_HOME name a folder of your own."
        )
    if sys.platform != "win32" and found.st_mode & 0o077:
        raise ConfigError(
            f"the folder {path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o})",
            hint=f"Close it with: chmod 700 '{path}' - or let LEPTON_HOME name a folder that does not exist yet.",
        )
    return path


def parse_duration(text: str) -> float:
    """Seconds of "90s", "30m", "12h", "2d" or "1h30m". Raises ConfigError with examples."""
    compact = "".join(text.split()).lower()
    if not _DURATION.fullmatch(compact):
        raise ConfigError(f"{text!r} is not a duration", hint='Write a number and a unit: "90s", "30m", "12h", "2d".')
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)([smhd])", compact))


def parse_size(text: str) -> int:
    """Bytes of "500 MB", "20GiB" or "1.5TB". Raises ConfigError with examples."""
    found = _SIZE.fullmatch(text.strip().lower())
    if not found:
        raise ConfigError(f"{text!r} is not a size", hint='Write a number and a unit: "500MB", "20GiB", "1.5TB".')
    number, power, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** (" kmgt".index(power or " ")))


def nearest(word: str, choices: Collection[str]) -> str:
    """The hint for a word nobody knows: the one it looks like, then all valid ones."""
    close = difflib.get_close_matches(word, choices, n=1)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    return f"{guess}Known: {', '.join(sorted(choices))}."


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetConfig:
    """One ``[targets.NAME]`` of the file: which plug-in, and the plug-in's own keys as they stand there."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Contents:
    """What one reading of the file gave. `stamp` tells whether the file is still that one."""

    stamp: tuple[int, int, int]
    text: str
    targets: Mapping[str, TargetConfig]
    default: str
    card: bool


class Config:
    """The file of targets and defaults, read again whenever it changed, so that an edit needs no restart.

    Each reading is checked whole. Writing keeps comments and order, is atomic, and two processes that write at the
    same time lose nothing of one another.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._contents = self._read()

    @classmethod
    def load(cls, path: Path | None = None) -> Config:
        """The configuration in `path`, else in its usual place; a missing file is an empty one. Raises ConfigError."""
        return cls(path or config_path())

    @property
    def targets(self) -> Mapping[str, TargetConfig]:
        """All targets by name; ``local`` is always among them, first. Raises ConfigError."""
        return self._fresh().targets

    @property
    def default(self) -> str:
        """The name of the target that is meant when none is named. Raises ConfigError."""
        return os.environ.get("LEPTON_TARGET") or self._fresh().default or LOCAL

    @property
    def card(self) -> bool:
        """Whether cells show a card unless they say otherwise. Raises ConfigError."""
        return self._fresh().card

    def target(self, name: str = "") -> TargetConfig:
        """The target `name`, or the default one. Raises ConfigError for a name nobody knows."""
        targets = self.targets
        wanted = name or self.default
        if wanted in targets:
            return targets[wanted]
        if name:
            where = ""
        elif os.environ.get("LEPTON_TARGET"):
            where = " (named by LEPTON_TARGET)"
        else:
            where = f" (the default in {self.where(key='default')})"
        raise ConfigError(
            f"there is no target {wanted!r}{where}",
            hint=f"{nearest(wanted, targets)} Add one: %lepton_target add NAME ssh://user@host",
        )

    def where(self, name: str = "", key: str = "") -> str:
        """For messages: the file, and the line of target `name` or of its `key` when it can be told."""
        return _at(self.path, self._contents.text, name, key)

    def add(self, name: str, kind: str, options: Mapping[str, Any]) -> TargetConfig:
        """Write target `name`; one of that name is changed to exactly this. Raises ConfigError.

        Whether `kind` and `options` make sense is for the caller to check first (``targets/_options.py``).
        """
        check_name(name)
        if name == LOCAL and kind != LOCAL:
            raise ConfigError(f"the target {LOCAL!r} is this machine; it cannot be of kind {kind!r}")
        with self._changing() as document:
            targets = document.setdefault("targets", tomlkit.table(is_super_table=True))
            table = targets.setdefault(name, tomlkit.table())
            wanted = {"kind": kind, **options}
            for stale in [key for key in table if key not in wanted]:
                del table[stale]
            for key, value in wanted.items():
                if key not in table or table[key] != value:
                    table[key] = value
        return self.target(name)

    def remove(self, name: str) -> None:
        """Forget target `name`; when it was the default, ``local`` is. Raises ConfigError."""
        self.target(name)
        with self._changing() as document:
            if name not in document.get("targets", {}):
                raise ConfigError(f"the target {name!r} is built in; it is not in {self.path} and cannot be removed")
            del document["targets"][name]
            if not document["targets"]:
                del document["targets"]
            if document.get("default") == name:
                del document["default"]

    def set_default(self, name: str) -> None:
        """Let `name` be meant when no target is named. Raises ConfigError."""
        self.target(name)
        with self._changing() as document:
            document["default"] = name

    def _fresh(self) -> _Contents:
        if _stamp(self.path) != self._contents.stamp:
            self._contents = self._read()
        return self._contents

    def _read(self) -> _Contents:
        stamp = _stamp(self.path)
        text = _text(self.path)
        document = _parse(self.path, text).unwrap()
        if unknown := [key for key in document if key not in _TOP_KEYS]:
            raise ConfigError(
                f"{_at(self.path, text, key=unknown[0])}: unknown key {unknown[0]!r}",
                hint=nearest(unknown[0], _TOP_KEYS),
            )
        default = document.get("default", "")
        tables = document.get("targets", {})
        if not isinstance(default, str):
            raise ConfigError(f"{_at(self.path, text, key='default')}: default must be the name of a target, in quotes")
        card = document.get("card", False)
        if not isinstance(card, bool):
            raise ConfigError(f"{_at(self.path, text, key='card')}: card is either true or false")
        if not isinstance(tables, dict):
            raise ConfigError(f"{_at(self.path, text, key='targets')}: write each target as a table: [targets.NAME]")
        targets = {LOCAL: TargetConfig(name=LOCAL, kind=LOCAL)}
        for name, table in tables.items():
            targets[name] = self._target(name, table, text)
        return _Contents(stamp=stamp, text=text, targets=MappingProxyType(targets), default=default, card=card)

    def _target(self, name: str, table: Any, text: str) -> TargetConfig:
        where = _at(self.path, text, name)
        check_name(name, where)
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: write the target as a table: [targets.{name}]")
        kind = table.get("kind", LOCAL if name == LOCAL else None)
        if not isinstance(kind, str) or not kind:
            raise ConfigError(f"{where}: the target {name!r} does not say its kind", hint='For example: kind = "ssh"')
        if name == LOCAL and kind != LOCAL:
            raise ConfigError(f"{where}: the target {LOCAL!r} is this machine; it cannot be of kind {kind!r}")
        options = {key: value for key, value in table.items() if key != "kind"}
        return TargetConfig(name=name, kind=kind, options=MappingProxyType(options))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[tomlkit.TOMLDocument]:
        """The document as it is now, under a lock; written back, whole or not at all, when the block succeeds."""
        path = Path(os.path.realpath(self.path))  # a linked dotfile stays a link
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _lock(path.with_name(f".{path.name}.lock")):
                before = _text(path)
                document = _parse(self.path, before)
                yield document
                after = document.as_string()
                if _parse(self.path, after).unwrap() != document.unwrap():
                    raise ConfigError(
                        f"{self.path} is written in a way that cannot be changed here", hint="Edit it by hand."
                    )
                if after != before:
                    _replace(path, after)
        except OSError as error:
            raise ConfigError(
                f"{self.path} cannot be written: {error.strerror}", hint="LEPTON_CONFIG names another file."
            ) from None
        self._contents = self._read()


def check_name(name: str, where: str = "") -> None:
    """Raise ConfigError, begun with `where`, for what cannot name a target."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{where}{': ' if where else ''}{name!r} cannot name a target",
            hint="A name has letters, digits, '.', '_' and '-', and begins with a letter or digit.",
        )


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text in UTF-8", hint="LEPTON_CONFIG names another file.") from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", hint="LEPTON_CONFIG names another file."
        ) from None


def _parse(path: Path, text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except ParseError as error:
        reason = str(error).rsplit(" at line ", 1)[0]
        if "'\\x00'" in reason or "'\\n'" in reason:
            reason = "something is missing at the end of the line"
        raise ConfigError(f"{path}, line {error.line}: {reason}", hint="The rules are at https://toml.io") from None
    except TOMLKitError as error:
        raise ConfigError(f"{path}: {error}", hint="The rules are at https://toml.io") from None


def _at(path: Path, text: str, name: str = "", key: str = "") -> str:
    line = _line_of(text, name, key)
    return f"{path}, line {line}" if line else str(path)


def _line_of(text: str, name: str, key: str) -> int:
    """The line where target `name` (or its `key`, or a top-level `key`) stands, as near as can be told; 0 = unknown."""
    header = re.compile(rf"\s*\[\s*targets\s*\.\s*[\"']?{re.escape(name)}[\"']?\s*\]")
    inside, found = not name, 0
    for number, line in enumerate(text.splitlines(), 1):
        if name and header.match(line):
            inside, found = True, number
        elif line.lstrip().startswith("["):
            inside = False
        if inside and key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return number
    return found


def _replace(path: Path, text: str) -> None:
    """Give `path` the contents `text`, mode 0600: all of it or nothing, also when the machine dies meanwhile."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Keep other processes out for as long as the block lasts; a process that dies lets go."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
