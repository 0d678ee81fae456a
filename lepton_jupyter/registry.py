"""Where plug-ins are found: built-ins by file name, others by entry point; nothing is imported before its use.

Runs in the notebook's kernel and the server. ``load("targets", "ssh")`` imports ``lepton_jupyter.targets.ssh`` and
returns the object that the module names ``PLUGIN``; a foreign package offers its own by an entry point in the group
``lepton_jupyter.targets``.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points
from typing import Any

from .errors import ConfigError, MissingDependency

#: What to install when the import of a built-in fails: (group, name) -> extra.
EXTRAS = {
    ("targets", "ssh"): "ssh",
    ("ml.compressors", "structured"): "compress",
    ("ml.compressors", "quantizing"): "compress",
}


def names(group: str) -> list[str]:
    """All known names of a group, sorted."""
    package = importlib.import_module(f"lepton_jupyter.{group}")
    built_in = {info.name for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_")}
    return sorted(built_in | {point.name for point in entry_points(group=f"lepton_jupyter.{group}")})


def load(group: str, name: str) -> Any:
    """The plug-in `name` of `group`.

    Raises ConfigError for a name nobody knows (and lists the valid ones), MissingDependency when a package it needs
    is absent (with the command that installs it).
    """
    if name not in names(group):
        raise ConfigError(f"unknown name {name!r} in {group}", hint=f"Known: {', '.join(names(group))}.")
    for point in entry_points(group=f"lepton_jupyter.{group}"):
        if point.name == name:
            return point.load()
    try:
        return importlib.import_module(f"lepton_jupyter.{group}.{name}").PLUGIN
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((group, name))
        if extra is None or (error.name or "").startswith("lepton_jupyter"):
            raise
        raise MissingDependency(
            f"{name!r} needs the package {error.name!r}, which is not installed here",
            hint=f'Install it: pip install "lepton-jupyter[{extra}]"',
        ) from None
