"""Which packages a notebook wants where it runs: ``--env``. On the user's side.

``auto`` takes what is written nearest to the notebook, in this order: a PEP 723 block in one of its cells, which says
all; from its folder upwards a ``pyproject.toml`` with dependencies, or else a ``requirements.txt``. What the cells
import beside that, or where nothing is written, is taken in the version that is installed here. The host's part is
`agent.environments`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ...agent.installers import name_of
from ...errors import ConfigError
from . import imports as _imports
from . import requirements as _requirements
from .requirements import Listed

#: What brings values of a library over the wire, for those who compute with it.
_CARRIERS = {"torch": "safetensors", "pandas": "pyarrow", "polars": "pyarrow", "scikit-learn": "skops"}
_OFF = ("none", "off", "")


@dataclass(frozen=True)
class EnvSpec:
    """What an environment shall have. The lines are those of a requirements file."""

    requirements: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    options: tuple[str, ...] = ()  # --index-url and its like; may hold passwords
    also: tuple[str, ...] = ()  # what this package needs there beside them
    python: str = ""  # ">=3.10": it must
    prefer: str = ""  # "3.11": if it is there
    source: str = ""  # where that is written, in words
    left_out: tuple[str, ...] = ()  # what can't be had on another machine, in words

    def to_json(self) -> dict[str, Any]:
        """For `Target.launch`; equal specs give equal JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @property
    def words(self) -> str:
        """One line: ``3 packages of pyproject.toml; without mine (it lies on this machine)``."""
        count = len(self.requirements)
        left = f"; without {', '.join(self.left_out)}" if self.left_out else ""
        return f"{count} package{'' if count == 1 else 's'} of {self.source}{left}"


def wanted(
    notebook: Path | None,
    imports: Collection[str] = (),
    env: str | Collection[str] = "auto",
    sources: Iterable[str] = (),
) -> EnvSpec | None:
    """What the cells of `notebook` want on a host; None when they take what is there.

    `env` is the value of ``--env``: ``auto``; ``none`` or ``off``; a requirements file; a pyproject.toml, with extras
    or dependency groups as in ``pyproject.toml[train]``; requirements as on pip's command line, or a list of them.
    `sources` are cells that the file may not have yet, `imports` modules that are needed beside those of the cells.

    Raises ConfigError.
    """
    if not isinstance(env, str):
        return _listed(env)
    text = env.strip()
    if text.lower() in _OFF:
        return None
    folder = (notebook.parent if notebook else Path.cwd()).absolute()
    if text.lower() != "auto":
        return _named(text, folder)
    cells = [*(_imports.cells(notebook) if notebook else []), *sources]
    name = notebook.name if notebook else "the notebook"
    script = _script(cells, name)
    if script is not None:
        return _spec(script, f"the script block of {name}")
    written, source = _project(folder, notebook)
    if any("--hash" in line for line in written.requirements):
        return _spec(written, source)  # nothing without a hash may stand beside it
    used = _imports.from_elsewhere({*imports, *(module for cell in cells for module in _imports.of_code(cell).all)})
    if any(_imports.top(module) == "keras" for module in used):
        used.append(os.environ.get("KERAS_BACKEND") or "tensorflow")  # what does its work
    known = _imports.needed_by(map(name_of, written.requirements))
    beside = sorted({found for module in used for found in _imports.distributions(module)} - known)
    for distribution in beside:
        _pin(distribution, written)
    prefer = "" if written.python else ".".join(map(str, sys.version_info[:2]))
    origins = [source] * bool(source) + [f"what {name} imports"] * bool(beside or not source)
    return _spec(written, " and ".join(origins), prefer)


def _named(text: str, folder: Path) -> EnvSpec:
    """What ``--env`` names: a file, or else requirements."""
    match = re.fullmatch(r"([^\[\]]+)(?:\[([^\[\]]*)\])?", text)
    path, groups = (match[1], match[2] or "") if match and "://" not in text else ("", "")
    file = folder / os.path.expanduser(path)
    suffix = file.suffix.lower() if path else ""
    if suffix in (".yml", ".yaml"):
        hint = f"On the host: conda env create -f {file.name}, then name it: --python conda:NAME --env off"
        raise ConfigError(f"{file.name} describes an environment of conda, which is not made by itself", hint=hint)
    if suffix == ".lock":
        raise ConfigError(f"{file.name} is a lock file", hint="Export it: uv export > requirements.txt")
    if suffix == ".toml":
        listed = _requirements.of_pyproject(file, [group.strip() for group in groups.split(",") if group.strip()])
        if listed is None:
            hint = "Write them under project.dependencies, or export them: poetry export > requirements.txt"
            raise ConfigError(f"{file} names no dependencies", hint=hint)
        return _spec(listed, f"{file.name}[{groups}]" if groups else file.name)
    if suffix in (".txt", ".in"):
        return _spec(_requirements.of_file(file), file.name)
    return _listed(_requirements.words_of(text))


def _listed(words: Iterable[str]) -> EnvSpec:
    found = _requirements.of_words(words, "--env")
    if found.left_out:
        hint = "Name packages, a requirements.txt or a pyproject.toml."
        raise ConfigError(f"--env cannot take {', '.join(found.left_out)}", hint=hint)
    return _spec(found, "--env")


def _script(cells: Iterable[str], name: str) -> Listed | None:
    blocks = [cell for cell in cells if "# /// script" in cell]
    return _requirements.of_script("\n\n".join(dict.fromkeys(blocks)), f"the script block of {name}")


def _project(folder: Path, notebook: Path | None) -> tuple[Listed, str]:
    """What is written in the nearest folder that says something, up to the project's root or the home folder."""
    for place in (folder, *folder.parents):
        if place != folder and place in (Path.home(), Path(place.anchor)):
            break
        pyproject, listing = place / "pyproject.toml", place / "requirements.txt"
        if _trusted(pyproject, notebook):
            listed = _requirements.of_pyproject(pyproject)
            if listed is not None:
                return listed, pyproject.name
        if _trusted(listing, notebook):
            return _requirements.of_file(listing), listing.name
        if (place / ".git").exists():
            break
    return Listed(), ""


def _trusted(path: Path, notebook: Path | None) -> bool:
    """Whether a file is there, and written by us or by whoever wrote the notebook: a folder above may be anybody's."""
    try:
        owners = {os.getuid(), 0} | ({notebook.stat().st_uid} if notebook and notebook.exists() else set())
        return path.is_file() and path.stat().st_uid in owners
    except OSError:
        return False


def _pin(distribution: str, listed: Listed) -> None:
    """The requirement that gives this distribution elsewhere."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return
    try:
        origin = json.loads(found.read_text("direct_url.json") or "{}")
    except ValueError:
        origin = {}
    url = str(origin.get("url", "")) if isinstance(origin, dict) else ""
    public = found.version.partition("+")[0]  # 2.13.0+cpu: which build is right there is for the host to say
    if not url and _in_a_site(found):
        listed.requirements.append(f"{distribution}=={public}")
    elif url.startswith("https://") and "vcs_info" in origin:
        commit = str(origin["vcs_info"].get("commit_id", ""))
        listed.requirements.append(f"{distribution} @ git+{url}@{commit}")
    elif url.startswith("https://"):
        listed.requirements.append(f"{distribution} @ {url}")
    else:
        listed.left_out.append(f"{distribution} (it is installed from a folder or file of this machine)")


def _in_a_site(found: metadata.Distribution) -> bool:
    """Whether it lies where installers put what they install; a project under development does not."""
    place = Path(str(found.locate_file("")))
    return bool({"site-packages", "dist-packages"} & set(place.parts))


def _spec(listed: Listed, source: str, prefer: str = "") -> EnvSpec:
    names = set(map(name_of, listed.requirements))
    also = sorted({carrier for name, carrier in _CARRIERS.items() if name in names and carrier not in names})
    unique = dict.fromkeys
    return EnvSpec(
        requirements=tuple(unique(listed.requirements)),
        constraints=tuple(unique(listed.constraints)),
        options=tuple(unique(listed.options)),
        also=tuple(also),
        python=listed.python.strip(),
        prefer=prefer,
        source=source,
        left_out=tuple(unique(listed.left_out)),
    )
