"""Who follows a job, by a name that says which process that is. Runs wherever the store does.

The lease of a process that is gone need not lapse: whoever is on the same machine can see that it is gone. From another
machine, or another container, nothing can be seen, and there the lease decides alone.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import secrets
from pathlib import Path


def new_holder() -> str:
    """A name for this process as the follower of jobs; no other one gets the same."""
    return f"{_here()}.{os.getpid()}.{secrets.token_hex(4)}"


def is_gone(holder: str) -> bool:
    """Whether the process of that name has certainly ended. A new one with its number makes it seem alive."""
    place, _, rest = holder.partition(".")
    pid = rest.partition(".")[0]
    if not place or place != _here() or not (pid.isascii() and pid.isdigit() and 0 < len(pid) < 10):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it is somebody else's, and alive
    return False


@functools.cache
def _here() -> str:
    """Where a process number means the same process; "" where that is not to be told, so no number is looked up."""
    if os.name != "posix":
        return ""
    marks = [platform.node()]
    for path, read in (("/proc/sys/kernel/random/boot_id", Path.read_text), ("/proc/self/ns/pid", os.readlink)):
        try:
            marks.append(str(read(Path(path))))
        except OSError:
            marks.append("")  # no Linux
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:12]
