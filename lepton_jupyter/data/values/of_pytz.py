"""Codec for pytz's time zones, which pandas before 3 makes of names: the name, and the offset in force. Both ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import Malformed, UnknownClass
from .codec import Codec, fields, library
from .standard import ZONE

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker


class _Zone(Codec):
    tag = "pytz.zone"

    def accepts(self, value: Any) -> bool:
        return isinstance(getattr(value, "zone", None), str)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        if not ZONE.fullmatch(value.zone):
            out.refuse("it is a time zone without a name", 'Make it with zoneinfo.ZoneInfo("Area/City").')
        return [value.zone, out.child(self._offset(value))]

    def _offset(self, value: Any) -> Any:
        """A zone with summer time is an object for each offset; which of them this is."""
        known = getattr(value, "_tzinfos", None) or {}
        return next((key for key, zone in known.items() if zone is value), None)

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        name, item = fields(body, str, object)
        if not ZONE.fullmatch(name):
            raise Malformed(f"a time zone that is none: {name!r:.60}")
        pytz = library("pytz")
        try:
            zone = pytz.timezone(name)
        except pytz.UnknownTimeZoneError:
            raise UnknownClass(f"the time zone {name} is not known here", hint="pip install -U pytz") from None
        offset = src.child(item)
        return zone if offset is None else zone._tzinfos[offset]


CODECS: tuple[Codec, ...] = (_Zone(),)
