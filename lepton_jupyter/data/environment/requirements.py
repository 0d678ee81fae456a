"""Requirements as they are written: requirements files, pyproject.toml, PEP 723. On the user's side.

What only this machine has (paths, editable installs) can't be installed on a host: it is left out, and said.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...agent.installed import normal
from ...errors import ConfigError

#: https://packaging.python.org/en/latest/specifications/inline-script-metadata/
_SCRIPT = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
#: Options of a requirements file that decide where packages come from, with a value and alone.
_VALUED = {"-i": "--index-url", "--index-url": "", "--extra-index-url": "", "-f": "--find-links", "--find-links": "",
           "--no-binary": "", "--only-binary": "", "--trusted-host": ""}  # fmt: skip
_ALONE = {"--no-index", "--pre", "--prefer-binary", "--require-hashes"}
_INCLUDES = {"-r": "requirement", "--requirement": "requirement", "-c": "constraint", "--constraint": "constraint"}
_REMOTE = re.compile(r"(?:(?:git|hg|svn|bzr)\+)?(?:https?|ssh)://", re.IGNORECASE)
_MAX_SIZE, _MAX_FILES = 1 << 20, 50


@dataclass
class Listed:
    """What was found; the lines are those of a requirements file."""

    requirements: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    python: str = ""
    left_out: list[str] = field(default_factory=list)  # in words, each with its reason


def of_words(words: Iterable[str], where: str) -> Listed:
    """A list of requirements. Raises ConfigError for one that is none."""
    listed = Listed()
    for word in words:
        _add(listed, word, where)
    return listed


def of_file(path: Path) -> Listed:
    """A requirements file with those it includes. Raises ConfigError."""
    listed = Listed()
    _read(path, listed, listed.requirements, [])
    return listed


def of_script(text: str, where: str) -> Listed | None:
    """The PEP 723 block of a script; None when it has none. Raises ConfigError."""
    blocks = [*_SCRIPT.finditer(text)]
    if not blocks:
        return None
    if len(blocks) > 1:
        raise ConfigError(f"{where} has {len(blocks)} blocks `# /// script`", hint="Keep one of them.")
    lines = blocks[0]["content"].splitlines()
    table = _toml("\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines), where)
    return _of_table(table, table.get("dependencies", []), table.get("requires-python", ""), where)


def of_pyproject(path: Path, groups: Iterable[str] = ()) -> Listed | None:
    """The dependencies of a project and of the named extras or dependency groups; None when it names none.

    Raises ConfigError.
    """
    table = _toml(_text(path), path.name)
    project = _table(table, "project")
    wanted: list[Any] = []
    if "dependencies" in project:
        wanted += _strings(project["dependencies"], f"{path.name}: project.dependencies")
    elif isinstance(dynamic := project.get("dynamic"), list) and "dependencies" in dynamic:
        files = _table(table, "tool", "setuptools", "dynamic", "dependencies").get("file", [])
        for name in [files] if isinstance(files, str) else files:
            wanted += of_file(path.parent / str(name)).requirements
    for group in groups:
        wanted += _group(table, group, path.name, ())
    if not wanted and "dependencies" not in project:
        return None
    return _of_table(table, wanted, project.get("requires-python", ""), path.name)


def _of_table(table: Mapping[str, Any], wanted: Any, python: Any, where: str) -> Listed:
    listed = of_words(_strings(wanted, f"{where}: dependencies"), where)
    listed.python = python if isinstance(python, str) else ""
    sources = {normal(name): source for name, source in _table(table, "tool", "uv", "sources").items()}
    kept: list[str] = []
    for line in listed.requirements:
        source = sources.get(normal(_project(line)))
        if isinstance(source, Mapping) and ("path" in source or "workspace" in source):
            listed.left_out.append(f"{_project(line)} (it comes from a folder of this machine)")
        elif isinstance(source, Mapping) and isinstance(source.get("git"), str):
            at = next((f"@{source[key]}" for key in ("rev", "tag", "branch") if key in source), "")
            inside = f"#subdirectory={source['subdirectory']}" if "subdirectory" in source else ""
            _add(listed, f"{_project(line)} @ git+{source['git']}{at}{inside}", where, kept)
        else:
            kept.append(line)
    listed.requirements = kept
    return listed


def _group(table: Mapping[str, Any], group: str, where: str, outer: tuple[str, ...]) -> list[str]:
    """The requirements of an extra or a dependency group with those it includes."""
    project, name = _table(table, "project"), normal(group)
    if name in outer:
        raise ConfigError(f"{where}: the groups {' → '.join([*outer, name])} include one another")
    extras = {normal(key): value for key, value in _table(project, "optional-dependencies").items()}
    found = {normal(key): value for key, value in _table(table, "dependency-groups").items()} | extras
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise ConfigError(f"{where} has no extra or dependency group {group!r}", hint=f"It has: {known}.")
    lines: list[str] = []
    for entry in found[name] if isinstance(found[name], list) else []:
        if isinstance(entry, Mapping) and "include-group" in entry:
            lines += _group(table, str(entry["include-group"]), where, (*outer, name))
        elif isinstance(entry, str) and normal(_project(entry)) == normal(str(project.get("name", "-"))):
            extras_of = re.search(r"\[([^\]]*)\]", entry)
            for extra in extras_of[1].split(",") if extras_of else []:
                lines += _group(table, extra.strip(), where, (*outer, name))
        else:
            lines += _strings([entry], f"{where}: {group}")
    return lines


def _read(path: Path, listed: Listed, into: list[str], seen: list[Path]) -> None:
    real = Path(os.path.realpath(path))
    if real in seen:
        return
    seen.append(real)
    if len(seen) > _MAX_FILES:
        raise ConfigError(f"{seen[0].name} includes more than {_MAX_FILES} files")
    text = re.sub(r"\\\r?\n", " ", _text(path))
    for raw in text.splitlines():
        line = re.sub(r"(^|\s+)#.*$", "", raw).strip()
        if not line:
            continue
        if not line.startswith("-"):
            _add(listed, line, path.name, into)
            continue
        option, value = _option(line)
        if option in _INCLUDES:
            if _REMOTE.match(value) or Path(value).suffix not in (".txt", ".in"):
                hint = "Only files of this machine that end in .txt or .in are included."
                raise ConfigError(f"{path.name} includes {value!r}", hint=hint)
            constraint = _INCLUDES[option] == "constraint"
            _read(path.parent / value, listed, listed.constraints if constraint else into, seen)
        elif option in ("-e", "--editable") and _REMOTE.match(value):
            _add(listed, value, path.name, into)
        elif option in _VALUED and (option not in ("-f", "--find-links") or _REMOTE.match(value)):
            listed.options.append(f"{_VALUED[option] or option} {value}")
        elif option in _ALONE:
            listed.options.append(option)
        else:
            listed.left_out.append(f"`{line}` (it holds for this machine alone)")


def _option(line: str) -> tuple[str, str]:
    """``-r file``, ``-rfile``, ``--requirement file`` and ``--requirement=file`` alike."""
    if line.startswith("--"):
        found = re.match(r"(--[\w-]+)(?:[\s=]+(.*))?", line)
        return (found[1], (found[2] or "").strip()) if found else (line, "")
    return line[:2], line[2:].lstrip(" =").strip()


def _add(listed: Listed, line: str, where: str, into: list[str] | None = None) -> None:
    """One requirement: kept as it is written, or left out in words. Raises ConfigError when it is none."""
    from packaging.requirements import InvalidRequirement, Requirement

    into = listed.requirements if into is None else into
    text, *options = re.split(r"\s+(?=--)", line.strip())
    if _REMOTE.match(text) and not re.search(r"\s", text):
        into.append(text)
        return
    if re.match(r"\.{0,2}[/\\]|~|file:|git\+file:|[A-Za-z]:\\", text) or text.endswith((".whl", ".tar.gz", ".zip")):
        listed.left_out.append(f"{text} (it lies on this machine)")
        return
    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        hint = "Requirements are written as for pip: NAME, NAME==1.2, NAME[extra]>=1.2; python_version>'3.9'"
        raise ConfigError(f"{where}: {text[:200]!r} is no requirement: {reason}", hint=hint) from None
    if found.url and not _REMOTE.match(found.url):
        listed.left_out.append(f"{found.name} (it lies on this machine: {found.url})")
        return
    hashes = [option for option in options if re.fullmatch(r"--hash[=\s]\w+:[0-9a-fA-F]+", option)]
    listed.left_out += [f"`{option}` of {found.name}" for option in options if option not in hashes]
    into.append(" ".join([text, *hashes]))


def _project(requirement: str) -> str:
    """The name of what a requirement wants, as it is written."""
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    return found[0] if found else requirement


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise ConfigError(f"there is no file {path}")
        if path.stat().st_size > _MAX_SIZE:
            raise ConfigError(f"{path} is too large for a list of requirements")
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def _toml(text: str, where: str) -> dict[str, Any]:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        found: dict[str, Any] = tomlkit.parse(text).unwrap()
    except (TOMLKitError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is no valid TOML: {error}") from None
    return found


def _table(table: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    found: Any = table
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _strings(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ConfigError(f"{where} is not a list of texts")
    return list(value)


def words_of(text: str) -> list[str]:
    """Requirements as on pip's command line. Raises ConfigError."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} cannot be read: {error}") from None
