"""Versions as numbers, and what they rule out: of Python, drivers and CUDA. Runs on the host and on the user's side.

The whole of PEP 440 is for `packaging`, which a host may lack; this is the part that Python and drivers need.
"""

from __future__ import annotations

import re

_PART = re.compile(r"\s*(~=|===?|!=|<=|>=|<|>)\s*v?(\d+(?:\.\d+)*)(\.\*)?\s*")

#: The oldest driver on Linux for what was built with a CUDA; from 11 on, one for all minor versions. NVIDIA's tables:
#: https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
_DRIVERS = {
    (13,): "580",
    (12,): "525.60.13",
    (11,): "450.80.02",
    (10, 2): "440.33",
    (10, 1): "418.39",
    (10, 0): "410.48",
}


def release(version: str) -> tuple[int, ...]:
    """The numbers a version begins with: "2.13.0rc1+cpu" is (2, 13, 0); () when it begins with none."""
    found = re.match(r"\s*v?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found[1].split("."))) if found else ()


def allows(specifiers: str, version: str) -> bool:
    """Whether ``>=3.10,<4`` allows a version. A part that makes no sense forbids nothing."""
    return all(_allows(part, release(version)) for part in specifiers.split(","))


def _allows(part: str, version: tuple[int, ...]) -> bool:
    found = _PART.fullmatch(part)
    if found is None:
        return True
    operator, wanted, star = found[1], release(found[2]), bool(found[3])
    if star:
        same = version[: len(wanted)] == wanted
        return same if operator == "==" else not same
    ours, theirs = _padded(version, len(wanted)), _padded(wanted, len(version))
    if operator == "~=":
        return ours >= theirs and ours[: len(wanted) - 1] == wanted[:-1]
    return {
        "==": ours == theirs, "===": ours == theirs, "!=": ours != theirs,
        "<": ours < theirs, "<=": ours <= theirs, ">": ours > theirs, ">=": ours >= theirs,
    }[operator]  # fmt: skip


def _padded(version: tuple[int, ...], length: int) -> tuple[int, ...]:
    return version + (0,) * (length - len(version))


def needed_driver(cuda: str) -> str:
    """The oldest NVIDIA driver on which what was built for a version of CUDA runs; "" when that is not known."""
    numbers = release(cuda)
    return _DRIVERS.get(numbers[:1]) or _DRIVERS.get(numbers[:2], "")


def too_old(driver: str, cuda: str) -> bool:
    """Whether a driver is certainly older than a version of CUDA needs."""
    needed = needed_driver(cuda)
    return bool(needed and release(driver)) and release(driver) < release(needed)
