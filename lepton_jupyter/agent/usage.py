"""How well a job used its host, summed up and put into words. Pure; runs in the agent, and in the reader.

The words say only what the figures show: which of the things we can measure was the limit, and nothing when none was.
"""

from __future__ import annotations

from typing import Any

#: Fewer looks than this (about ten seconds) are no ground for a judgement.
_ENOUGH = 3
_BUSY, _IDLE = 80.0, 5.0  # percent
#: One core: what a program with a single thread can keep busy, in percent of a core.
_ONE_CORE = (80.0, 130.0)


class Usage:
    """Adds up the points of a job's history."""

    def __init__(self) -> None:
        self._looks = 0
        self._cpu = self._cpu_looks = self._host = 0.0
        self._cores = 1
        self._memory = self._host_memory = self._host_total = 0
        self._gpu_memory: int | None = None
        self._devices: dict[str, _Device] = {}

    def add(self, point: dict[str, Any]) -> None:
        """Count one point (or several that became one: ``n``)."""
        weight = int(point.get("n", 1))
        self._looks += weight
        kernel, cpu, memory = point.get("kernel") or {}, point.get("cpu") or {}, point.get("memory") or {}
        self._cores = int(cpu.get("count") or self._cores)
        if kernel.get("cpu") is not None:
            self._cpu += weight * kernel["cpu"]
            self._cpu_looks += weight
            self._host += weight * (cpu.get("percent") or 0.0)
        self._memory = max(self._memory, kernel.get("memory") or 0)
        self._host_memory = max(self._host_memory, memory.get("used") or 0)
        self._host_total = memory.get("total") or self._host_total
        if kernel.get("gpu_memory") is not None:
            self._gpu_memory = max(self._gpu_memory or 0, kernel["gpu_memory"])
        for device in point.get("devices") or []:
            self._devices.setdefault(f"{device['kind']} {device['index']}", _Device()).add(device, weight)

    def summary(self) -> dict[str, Any]:
        """``gpu``, ``cpu`` (mean percent, of its devices and of all cores), ``memory``, ``gpu_memory`` (peak bytes)
        and ``words``; nothing when there was no look."""
        if not self._looks:
            return {}
        mine = self._mine()
        busy = [device.util / device.looks for device in mine if device.looks]
        gpu = sum(busy) / len(busy) if busy else None
        cpu = self._cpu / self._cpu_looks if self._cpu_looks else None
        gpu_memory = self._gpu_memory
        if mine and not gpu_memory:  # a container hides whose the memory is
            gpu_memory = sum(device.memory for device in mine) or None
        return {
            "gpu": None if gpu is None else round(gpu, 1),
            "cpu": None if cpu is None else round(cpu / self._cores, 1),
            "memory": self._memory,
            "gpu_memory": gpu_memory if mine else None,
            "words": self._words(gpu, cpu, mine) if self._looks >= _ENOUGH else "",
        }

    def _mine(self) -> list[_Device]:
        """The devices the job used: those its processes held; where nobody's can be seen, those that worked."""
        held = [device for device in self._devices.values() if device.mine]
        return held or [device for device in self._devices.values() if device.util and not device.others]

    def _words(self, gpu: float | None, cpu: float | None, mine: list[_Device]) -> str:
        parts = []
        if gpu is not None:
            kind = "TPU" if all(device.kind == "tpu" for device in mine) else "GPU"
            parts.append(f"{kind} {gpu:.0f} % busy{_limit_of_gpu(gpu, cpu, self._cores)}")
            if any(device.total and device.memory > 0.95 * device.total for device in mine):
                parts.append(f"{kind} memory was nearly full")
        else:
            if self._devices and not mine and not any(device.others for device in self._devices.values()):
                parts.append("the GPU was not used" if len(self._devices) == 1 else "no GPU was used")
            if cpu is not None and self._host / self._cpu_looks > 95 and cpu < 50 * self._cores:
                parts.append(f"the host's CPU is busy with other work; this job had {cpu / self._cores:.0f} % of it")
            elif cpu is not None:
                parts += _limit_of_cpu(cpu, self._cores)
        if self._host_total and self._host_memory > 0.92 * self._host_total:
            parts.append("the host's memory was nearly full")
        return "; ".join(parts)


class _Device:
    def __init__(self) -> None:
        self.kind = ""
        self.util = self.looks = 0.0
        self.memory = self.total = 0
        self.mine = self.others = False

    def add(self, device: dict[str, Any], weight: int) -> None:
        self.kind = device["kind"]
        if device.get("util") is not None:
            self.util += weight * device["util"]
            self.looks += weight
        self.memory = max(self.memory, device.get("memory_used") or 0)
        self.total = device.get("memory_total") or self.total
        self.mine = self.mine or bool(device.get("mine"))
        self.others = self.others or bool(device.get("others"))


def _limit_of_gpu(gpu: float, cpu: float | None, cores: int) -> str:
    if gpu >= _BUSY or cpu is None:
        return ""
    if cpu >= _BUSY * cores:
        return ": the input pipeline is the limit" + (f" (all {cores} CPU cores are busy)" if cores > 1 else "")
    if gpu >= 50:
        return ""
    if cpu >= _ONE_CORE[1]:
        return ": the input pipeline is the limit"
    if cpu >= _ONE_CORE[0]:
        return ": one CPU core is the limit (the input pipeline, or batches too small)"
    return f", CPU {cpu / cores:.0f} %: it mostly waits (disk, network or sleep)"


def _limit_of_cpu(cpu: float, cores: int) -> list[str]:
    if cpu >= _BUSY * cores:
        return [f"all {cores} CPU cores are busy: more cores would help" if cores > 1 else "its only CPU core is busy"]
    if cores > 2 and _ONE_CORE[0] <= cpu <= _ONE_CORE[1]:
        return [f"one of {cores} CPU cores is busy: it runs in a single thread"]
    if cpu < _IDLE:
        return ["CPU hardly busy: it mostly waits (disk, network or sleep)"]
    return []
