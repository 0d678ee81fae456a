"""NVIDIA GPUs, by nvidia-ml-py where the interpreter has it, else by nvidia-smi.

Runs in the agent's sampling thread.
"""

from __future__ import annotations

import shutil
from typing import Any, Callable

from .vendor import Device, Vendor, device, number, process, said, whole

_MIB = 1 << 20
_GPUS = "index,uuid,name,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw"
_HOLDERS = "gpu_uuid,pid,process_name,used_memory"


def find() -> Vendor | None:
    """The better of what is here, or None."""
    try:
        import pynvml  # type: ignore[import-not-found,unused-ignore]

        pynvml.nvmlInit()
        return Library(pynvml)
    except Exception:  # noqa: BLE001 - no such module, no driver, another module of that name: all mean that it is of no use
        return Tool() if shutil.which("nvidia-smi") else None


class Library:
    """nvidia-ml-py: no process has to be started for a look."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def read(self) -> list[Device] | None:
        nvml = self._nvml
        count = self._ask(nvml.nvmlDeviceGetCount)
        if count is None:
            return None
        handles = [self._ask(nvml.nvmlDeviceGetHandleByIndex, index) for index in range(count)]
        return [self._device(index, handle) for index, handle in enumerate(handles) if handle is not None]

    def _device(self, index: int, handle: Any) -> Device:
        nvml, ask = self._nvml, self._ask
        memory = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        rates = ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        holders = ask(nvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
        name = ask(nvml.nvmlDeviceGetName, handle) or ""
        return device(
            "gpu", index, name.decode() if isinstance(name, bytes) else str(name),
            util=number(getattr(rates, "gpu", None)),
            memory_used=whole(getattr(memory, "used", None)),
            memory_total=whole(getattr(memory, "total", None)),
            temperature=number(ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)),
            power=number(ask(nvml.nvmlDeviceGetPowerUsage, handle), 1e-3),
            processes=[process(int(holder.pid), "", whole(holder.usedGpuMemory)) for holder in holders],
        )  # fmt: skip

    def _ask(self, question: Callable[..., Any], *about: Any) -> Any:
        try:
            return question(*about)
        except self._nvml.NVMLError:
            return None


class Tool:
    """nvidia-smi."""

    def read(self) -> list[Device] | None:
        rows = _rows(said("nvidia-smi", f"--query-gpu={_GPUS}", "--format=csv,noheader,nounits"), 8)
        if rows is None:
            return None
        holders = _rows(said("nvidia-smi", f"--query-compute-apps={_HOLDERS}", "--format=csv,noheader,nounits"), 4)
        found = []
        for index, uuid, name, util, used, total, temperature, power in rows:
            mine = [row for row in holders or [] if row[0] == uuid]
            found.append(
                device(
                    "gpu", whole(index) or 0, name, util=number(util), memory_used=whole(used, _MIB),
                    memory_total=whole(total, _MIB), temperature=number(temperature), power=number(power),
                    processes=[process(pid, row[2], whole(row[3], _MIB)) for row in mine
                               if (pid := whole(row[1])) is not None],
                )
            )  # fmt: skip
        return found


def _rows(text: str | None, width: int) -> list[list[str]] | None:
    """The lines of a table of `width` columns; a comma within a process's name belongs to the name."""
    if text is None:
        return None
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) > width:
            cells[2 : 3 + len(cells) - width] = [", ".join(cells[2 : 3 + len(cells) - width])]
        if len(cells) == width:
            found.append(cells)
    return found
