"""Values as a person reads them: times, sizes, and text from elsewhere as one harmless line.

Runs in the notebook's kernel, the server and the command line.
"""

from __future__ import annotations

import html
import time

_JOINERS = "\u200d\u200c"  # parts of emoji and of words in some scripts


def visible(text: str) -> str:
    """`text` as one harmless line: white space becomes one space, other control characters their escapes."""
    line = " ".join(str(text).split())  # what a host sent need not be text
    return "".join(
        char if char.isprintable() or char in _JOINERS else char.encode("unicode_escape", "backslashreplace").decode()
        for char in line
    )


def escaped(text: str) -> str:
    """`visible(text)` for HTML, inside an element or a quoted attribute."""
    return html.escape(visible(text), quote=True)


def duration(seconds: float) -> str:
    """ "0.8 s", "42 s", "4 min 10 s", "3 h 5 min", "2 d 4 h": two units are enough to compare jobs."""
    if 0 < seconds < 9.95:
        return f"{seconds:.1f} s"
    left, parts = max(0, round(seconds)), []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {name}")
    return " ".join(parts[:2]) or "0 s"


def clock(moment: float | None) -> str:
    """A moment in local time: the hour when it is today, else the date with it; nothing for None."""
    if moment is None:
        return ""
    then, now = time.localtime(moment), time.localtime()
    today = (then.tm_year, then.tm_yday) == (now.tm_year, now.tm_yday)
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M", then)


def size(count: float) -> str:
    """A number of bytes: "512 B", "3.1 GiB"."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while abs(count) >= 1024 and len(units) > 1:
        count /= 1024
        units.pop(0)
    return f"{count:.0f} {units[0]}" if units[0] == "B" or abs(count) >= 100 else f"{count:.1f} {units[0]}"
