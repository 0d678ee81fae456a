"""TPUs, by tpu-info, which draws tables for people. Runs in the agent's sampling thread."""

from __future__ import annotations

import re
import shutil

from .vendor import Device, Vendor, device, number, process, said, whole

_GIB = 1 << 30
_MEMORY = re.compile(r"([\d.]+)\s*GiB\s*/\s*([\d.]+)\s*GiB")


def find() -> Vendor | None:
    """tpu-info, where there is one."""
    return TpuInfo() if shutil.which("tpu-info") else None


class TpuInfo:
    """The first two tables of tpu-info: chips with their holders, and how busy each is."""

    def read(self) -> list[Device] | None:
        text = said("tpu-info")
        if text is None:
            return None
        chips, busy = [], []
        for line in text.splitlines():
            cells = [cell.strip() for cell in re.split("[│|]", line)[1:-1]]
            if cells and cells[0].startswith("/dev/"):
                chips.append(cells)
            elif len(cells) >= 3 and cells[0].isdigit():
                busy.append(cells)
        if not chips:
            return [] if "TPU" in text else None
        per_chip = max(1, len(busy) // len(chips))  # older chips are two devices each
        return [self._device(place, cells, busy[place * per_chip :][:per_chip]) for place, cells in enumerate(chips)]

    def _device(self, place: int, cells: list[str], busy: list[list[str]]) -> Device:
        memory = [found.groups() for row in busy if (found := _MEMORY.search(row[1]))]
        duty = [value for row in busy if (value := number(row[2].rstrip(" %"))) is not None]
        pid = whole(cells[3]) if len(cells) > 3 else None
        return device(
            "tpu", place, cells[1] if len(cells) > 1 else "TPU",
            util=sum(duty) / len(duty) if duty else None,
            memory_used=sum(whole(used, _GIB) or 0 for used, _ in memory) if memory else None,
            memory_total=sum(whole(total, _GIB) or 0 for _, total in memory) if memory else None,
            processes=[process(pid, "", None)] if pid is not None else [],
        )  # fmt: skip
