"""Numbers, texts and bytes one after the other: the fields of a packed file's header.

Runs wherever a packed file is written or read. Reading trusts nothing: every length is checked against what is there.
"""

from __future__ import annotations

from ...errors import LeptonError

#: No number in a header is larger: it takes 7 bytes.
MOST = (1 << 49) - 1
LONGEST = 7


def damaged(what: str, hint: str = "Fetch or write it again; nothing was loaded from it.") -> LeptonError:
    """The error of a packed file that makes no sense."""
    return LeptonError(f"the packed file is damaged: {what}", hint=hint)


class Out:
    """Fields to be written."""

    def __init__(self) -> None:
        self.data = bytearray()

    def number(self, value: int) -> None:
        """7 bits a byte, lowest first; the highest bit says that more follow."""
        while value > 127:
            self.data.append(value & 127 | 128)
            value >>= 7
        self.data.append(value)

    def text(self, value: bytes) -> None:
        """Its length, then it."""
        self.number(len(value))
        self.data += value


class In:
    """Fields to be read. Everything raises LeptonError where the bytes end too early or say nonsense."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, most: int = MOST) -> int:
        """What Out.number wrote, if it is not above `most`."""
        value = 0
        for place in range(LONGEST):
            byte = self.take(1)[0]
            value |= (byte & 127) << (7 * place)
            if byte < 128 and value <= most:
                return value
        raise damaged("a number is too large")

    def text(self) -> bytes:
        """What Out.text wrote."""
        return self.take(self.number())

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if size > len(self._data) - self._at:
            raise damaged("it ends too early")
        self._at += size
        return self._data[self._at - size : self._at]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)
