"""The keys of a ``[targets.NAME]``: checked and typed by the plug-in's own ``Config``, a frozen dataclass.

Runs in the notebook's kernel, the server and the command line. One check for what a file says and for what
``%lepton_target add`` is told, so both speak of a mistake in the same words.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from ..config import nearest
from ..errors import ConfigError

_T = TypeVar("_T")
_SECRETS = ("pass", "password", "passphrase", "secret", "token")
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_SHOWN = {str: "text", int: "a whole number", float: "a number", bool: "true or false", tuple: "a list of texts"}


def check_options(config: type[_T], options: Mapping[str, Any], where: str) -> _T:
    """An instance of the plug-in's dataclass `config`, made of `options`; texts become numbers where it wants those.

    Raises ConfigError, begun with `where` ("lepton.toml, line 4"), for a key it does not know (with the nearest one),
    a value of another type, a key that is missing, and what `config` itself refuses.
    """
    try:
        return config(**typed_options(config, options, where))
    except ConfigError as error:
        if error.message.startswith(where):
            raise
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from None


def typed_options(config: type[Any], options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`options` with the types that `config` wants, and nothing else. Raises ConfigError as `check_options` does."""
    fields = {field.name: field for field in dataclasses.fields(config) if field.init}
    hints = typing.get_type_hints(config)
    for key in options:
        if key in fields:
            continue
        if key.lower() in _SECRETS:
            raise ConfigError(
                f"{where}: {key!r} has no place in a file",
                hint="Passwords are asked for when needed, and never stored.",
            )
        raise ConfigError(f"{where}: unknown key {key!r}", hint=nearest(key, ["kind", *fields]))
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in options:
            raise ConfigError(f"{where}: the key {name!r} is missing")
    return {key: _typed(value, hints[key], f"{where}: {key}") for key, value in options.items()}


def _typed(value: Any, hint: Any, where: str) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    else:
        kinds = [hint]
    kinds = [typing.get_origin(kind) or kind for kind in kinds]
    for kind in kinds:
        made = _made(value, kind)
        if made is not None:
            return made
    wanted = " or ".join(_SHOWN.get(kind, str(kind)) for kind in kinds)
    raise ConfigError(f"{where} must be {wanted}, not {value!r}")


def _made(value: Any, kind: Any) -> Any:
    """`value` as a `kind`, or None when it is not one."""
    if kind is bool:
        if isinstance(value, str):
            return True if value.lower() in _YES else False if value.lower() in _NO else None
        return value if isinstance(value, bool) else None
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, (str, int, kind)):
            return None
        try:
            number = kind(value)
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    if kind in (tuple, list):
        items = value.split(",") if isinstance(value, str) else value
        if isinstance(items, (list, tuple)) and all(isinstance(item, str) for item in items):
            return kind(item.strip() for item in items)
        return None
    return value if isinstance(value, kind) else None
