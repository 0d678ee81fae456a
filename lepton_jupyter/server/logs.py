"""A job's log in parts, so that who follows it gets what is new and not all of it again. Runs in the Jupyter server.

Most of a log only grows, but its last line is drawn over by progress bars, and an output may be cleared. So a part ends
in two: whole lines, which are *settled*, and the beginning of a line, which is sent every time. Who asks says how many
settled bytes it has and their digest, as both were told to it before; if the log does not begin so any more, it gets
all of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from ..outputs import Output, outputs_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The log from byte `after` on, in UTF-8; its first `settled` bytes have the digest `digest`."""

    data: bytes
    after: int
    settled: int
    digest: str


def part_of(outputs: Iterable[Output], after: int = 0, digest: str = "") -> Part:
    """For threads: what is new in the log for who has `after` bytes with this digest; all, if that is wrong."""
    data = outputs_text(outputs, colour=True).encode("utf-8", "replace")
    settled = data.rfind(b"\n") + 1
    known = after if 0 < after <= settled else 0
    summed = hashlib.blake2b(memoryview(data)[:known], digest_size=16)
    if known and summed.hexdigest() != digest:
        known, summed = 0, hashlib.blake2b(digest_size=16)
    summed.update(memoryview(data)[known:settled])
    return Part(data=data[known:], after=known, settled=settled, digest=summed.hexdigest())
