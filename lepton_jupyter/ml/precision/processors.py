"""In which half precisions the processor of this computer has instructions for. In the kernel."""

from __future__ import annotations

import functools
from pathlib import Path

#: Linux' names of the instructions that multiply in each (x86, Arm). Without them it is done by many others, slower.
_INSTRUCTIONS = {
    "bf16": {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"},
    "fp16": {"avx512_fp16", "amx_fp16", "avx_ne_convert", "asimdhp"},
}


@functools.lru_cache(maxsize=1)
def halves() -> frozenset[str]:
    """Of ``bf16`` and ``fp16`` those worth a try; both where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset(_INSTRUCTIONS)
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), None)
    return frozenset(name for name, known in _INSTRUCTIONS.items() if flags is None or known & set(flags))


def lacking() -> str:
    """What is not tried and why, in words; "" if all is."""
    lacks = [name for name in _INSTRUCTIONS if name not in halves()]
    return f"this processor has no instructions for {' and '.join(lacks)}" if lacks else ""
