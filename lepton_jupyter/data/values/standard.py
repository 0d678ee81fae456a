"""Codecs for the standard library's small values: times, exact numbers, ids, paths, patterns. Both ends."""

from __future__ import annotations

import argparse
import datetime
import decimal
import fractions
import pathlib
import random
import re
import types
import uuid
from typing import TYPE_CHECKING, Any, Callable

from ...errors import Malformed, UnknownClass
from .codec import Codec, Exact, fields

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

#: The names of time zones that are looked up; the standard library would take a name for a path, or for a package.
ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}")


class Parts(Exact):
    """A value that is made again from a few parts: `take` gives them, `make` is called with them.

    Only classes whose constructor does nothing but check may use this.
    """

    def __init__(self, kind: type, take: Callable[[Any], tuple[Any, ...]], make: Callable[..., Any]) -> None:
        self.tag, self.kind = kind.__name__, kind
        self._take, self._make = take, make

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return out.children(self._take(value))

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        return self._make(*src.children(body))

    def preview(self, value: Any) -> str:
        return repr(value)


class _ZoneInfo(Exact):
    tag = "ZoneInfo"

    def __init__(self) -> None:
        try:
            from zoneinfo import ZoneInfo
        except ImportError:  # built without it
            return
        self.kind = ZoneInfo

    def encode(self, value: Any, out: Packer) -> list[Any]:
        if value.key is None or not ZONE.fullmatch(value.key):
            out.refuse("it is a time zone without a name", 'Make it with zoneinfo.ZoneInfo("Area/City").')
        return [value.key]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        (key,) = fields(body, str)
        if not ZONE.fullmatch(key):
            raise Malformed(f"a time zone that is none: {key!r:.60}")
        try:
            return self.kind(key)
        except LookupError:
            raise UnknownClass(f"the time zone {key} is not known here", hint="pip install tzdata") from None


class _Path(Exact):
    def __init__(self, kind: type) -> None:
        self.tag, self.kind = kind.__name__, kind

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return [out.child(str(value))]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        return self.kind(src.text(fields(body, object)[0]))


class _Namespace(Exact):
    """SimpleNamespace, argparse.Namespace: names and values."""

    def __init__(self, kind: type) -> None:
        self.tag, self.kind = kind.__qualname__, kind

    def encode(self, value: Any, out: Packer) -> list[Any]:
        names = list(vars(value))
        return [out.children(names), [out.child(part, ".", name) for name, part in vars(value).items()]]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        names, values = fields(body, list, list)
        made = self.kind()
        vars(made).update(zip([src.text(name) for name in names], src.children(values)))
        return made

    def parts(self, value: Any) -> Any:
        return vars(value).values()


class _Pattern(Exact):
    tag = "Pattern"
    kind: Any = re.Pattern

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return [out.child(value.pattern), value.flags]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        pattern, flags = fields(body, object, int)
        return re.compile(src.child(pattern), flags & ~re.UNICODE if type(src.child(pattern)) is bytes else flags)


def _random(state: tuple[Any, ...]) -> random.Random:
    made = random.Random()  # noqa: S311
    made.setstate(state)
    return made


def _datetime(*parts: Any) -> datetime.datetime:
    return datetime.datetime(*parts[:-1], fold=parts[-1])


def _time(*parts: Any) -> datetime.time:
    return datetime.time(*parts[:-1], fold=parts[-1])


def _timezone(offset: datetime.timedelta, name: Any) -> datetime.timezone:
    return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)


_SINGLETONS: dict[str, Any] = {"Ellipsis": ..., "NotImplemented": NotImplemented}


class _Singleton(Exact):
    def __init__(self, name: str) -> None:
        self.tag, self.kind = name, type(_SINGLETONS[name])

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return []

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        fields(body)
        return _SINGLETONS[self.tag]


CODECS: tuple[Codec, ...] = (
    Parts(datetime.date, lambda d: (d.year, d.month, d.day), datetime.date),
    Parts(
        datetime.datetime,
        lambda d: (d.year, d.month, d.day, d.hour, d.minute, d.second, d.microsecond, d.tzinfo, d.fold),
        _datetime,
    ),
    Parts(datetime.time, lambda t: (t.hour, t.minute, t.second, t.microsecond, t.tzinfo, t.fold), _time),
    Parts(datetime.timedelta, lambda d: (d.days, d.seconds, d.microseconds), datetime.timedelta),
    Parts(
        datetime.timezone,
        lambda z: (z.utcoffset(None), z.__getinitargs__()[1] if len(z.__getinitargs__()) > 1 else None),
        _timezone,
    ),
    _ZoneInfo(),
    Parts(decimal.Decimal, lambda d: (str(d),), decimal.Decimal),
    Parts(fractions.Fraction, lambda f: (f.numerator, f.denominator), fractions.Fraction),
    Parts(uuid.UUID, lambda u: (u.hex,), uuid.UUID),
    Parts(range, lambda r: (r.start, r.stop, r.step), range),
    Parts(slice, lambda s: (s.start, s.stop, s.step), slice),
    Parts(random.Random, lambda r: (r.getstate(),), _random),
    *map(_Path, (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath)),
    *map(_Namespace, (types.SimpleNamespace, argparse.Namespace)),
    _Pattern(),
    *map(_Singleton, _SINGLETONS),
)
