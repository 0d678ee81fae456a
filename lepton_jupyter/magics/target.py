"""``%lepton_target``: the places to run. Runs in the notebook's kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class
from IPython.display import display

from .. import registry
from ..config import Config, TargetConfig, nearest
from ..errors import ConfigError
from ..targets._url import kind_of, new_target
from ._errors import split
from ._process import ask, dispatcher
from ._table import Table, findings_table

_VERBS = ("add", "default", "list", "remove", "test")


@magics_class
class TargetMagics(Magics):
    """The magic of targets."""

    @line_magic
    def lepton_target(self, line: str = "") -> None:
        """Places to run cells: add, list, test, remove them, and choose the default.

        ::

            %lepton_target add NAME URL [--python P] [--accept-host-key SHA256:...] [--KEY VALUE]...
            %lepton_target list
            %lepton_target test NAME
            %lepton_target default NAME
            %lepton_target remove NAME

        URL is ssh://user@host:port (or an alias of ~/.ssh/config: ssh://gpu1) or local://. Every key of lepton.toml is
        an option: price_per_hour is --price-per-hour. Adding a target again changes it to what is said then.
        `test` asks the place itself: reachable, Python, GPUs, frameworks, free disk, what is missing and its cure.

        Example::

            %lepton_target add gpu1 ssh://ann@gpu1.example.org --python auto --price-per-hour 2.10
            %lepton_target test gpu1
            %lepton_target default gpu1
        """
        verb, *words = split(line) or ["list"]
        if verb not in _VERBS:
            raise ConfigError(f"%lepton_target cannot {verb!r}", hint=nearest(verb, _VERBS))
        shown = getattr(self, f"_{verb}")(words)
        if isinstance(shown, str):
            print(shown)  # noqa: T201
        else:
            display(shown)

    def _add(self, words: Sequence[str]) -> str:
        name, url = _expect(words[:2], "add NAME URL [--KEY VALUE]...", 2)
        config, kind = Config.load(), kind_of(url)
        given = _options(words[2:], registry.load("targets", kind).Config)
        options, made = new_target(name, url, given, ask, f"%lepton_target add {name}")
        made.close()
        known = name in config.targets
        target = config.add(name, kind, options)
        return f"{'Changed' if known else 'Added'} {_place(target)}. Try it: %lepton_target test {name}"

    def _list(self, words: Sequence[str]) -> Table:
        _expect(words, "list", 0)
        config = Config.load()
        return targets_table(config.targets, config.default)

    def _test(self, words: Sequence[str]) -> Table:
        _expect(words, "test [NAME]", len(words[:1]))
        return findings_table(dispatcher().target(*words).probe())

    def _default(self, words: Sequence[str]) -> str:
        (name,) = _expect(words, "default NAME", 1)
        config = Config.load()
        config.set_default(name)
        if config.default != name:
            return f"{name} is the default of {config.path}, but LEPTON_TARGET names {config.default} for now."
        return f"Cells run on {name} unless they say another place with --on."

    def _remove(self, words: Sequence[str]) -> str:
        (name,) = _expect(words, "remove NAME", 1)
        config = Config.load()
        config.remove(name)
        return f"Removed {name}. What runs there goes on. The default target is {config.default}."


def targets_table(targets: Mapping[str, TargetConfig], default: str) -> Table:
    """One row per target, with every key that was given."""
    return Table(
        columns=("target", "kind", "options", ""),
        rows=[
            (name, target.kind, _said(target.options), "default" if name == default else "")
            for name, target in targets.items()
        ],
        wrap=True,
    )


def _said(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in options.items())


def _place(target: TargetConfig) -> str:
    options = _said(target.options)
    return f"{target.name} (kind = {target.kind}{', ' if options else ''}{options})"


def _expect(words: Sequence[str], usage: str, count: int) -> Sequence[str]:
    if len(words) != count:
        raise ConfigError(f"this is written: %lepton_target {usage}", hint="%lepton_target? shows the help.")
    return words


def _options(words: Sequence[str], config: type[Any]) -> dict[str, str]:
    """`--key value`, `--key=value`, and `--key` alone for what is true or false. Raises ConfigError."""
    switches = {field.name for field in dataclasses.fields(config) if isinstance(field.default, bool)}
    options: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            raise ConfigError(f"{word!r} stands alone", hint="Options are written --KEY VALUE, with quotes for spaces.")
        key, equals, value = word[2:].partition("=")
        key = key.replace("-", "_")
        if not equals:
            if rest and not rest[0].startswith("--"):
                value = rest.pop(0)
            elif key in switches:
                value = "true"
            else:
                raise ConfigError(f"the option {word} needs a value", hint=f"For example: {word} VALUE")
        options[key] = value
    return options
