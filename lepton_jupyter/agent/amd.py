"""AMD GPUs, by amd-smi, or by the older rocm-smi. Runs in the agent's sampling thread."""

from __future__ import annotations

import json
import shutil
from typing import Any

from .vendor import Device, Vendor, device, number, process, said, whole

_SCALE = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_ROCM = ("--showuse", "--showmeminfo", "vram", "--showtemp", "--showpower", "--showproductname", "--json")


def find() -> Vendor | None:
    """The better of what is here, or None."""
    if shutil.which("amd-smi"):
        return AmdSmi()
    return RocmSmi() if shutil.which("rocm-smi") else None


class AmdSmi:
    """amd-smi, of ROCm 6 and later."""

    def __init__(self) -> None:
        self._names: dict[int, str] | None = None

    def read(self) -> list[Device] | None:
        metrics = _by_gpu("amd-smi", "metric", "--usage", "--power", "--temperature", "--mem-usage", "--json")
        if metrics is None:
            return None
        if self._names is None:
            static = _by_gpu("amd-smi", "static", "--asic", "--json") or {}
            self._names = {gpu: str(_at(about, "asic", "market_name") or "") for gpu, about in static.items()}
        holders = _by_gpu("amd-smi", "process", "--json") or {}
        return [
            device(
                "gpu", gpu, self._names.get(gpu, "") or "AMD GPU",
                util=_value(about, "usage", "gfx_activity"),
                memory_used=whole(_value(about, "mem_usage", "used_vram")),
                memory_total=whole(_value(about, "mem_usage", "total_vram")),
                temperature=_first(about, ("temperature", "hotspot"), ("temperature", "edge")),
                power=_first(about, ("power", "socket_power"), ("power", "average_socket_power")),
                processes=_holders(holders.get(gpu, {})),
            )
            for gpu, about in sorted(metrics.items())
        ]  # fmt: skip


class RocmSmi:
    """rocm-smi, which says no process."""

    def read(self) -> list[Device] | None:
        cards = _parsed(said("rocm-smi", *_ROCM))
        if not isinstance(cards, dict):
            return None
        found = []
        for card, about in cards.items():
            if not (card.startswith("card") and card[4:].isdigit() and isinstance(about, dict)):
                continue
            named = {key.lower(): value for key, value in about.items()}
            found.append(
                device(
                    "gpu", int(card[4:]), str(named.get("card series") or named.get("device name") or "AMD GPU"),
                    util=number(named.get("gpu use (%)")),
                    memory_used=whole(named.get("vram total used memory (b)")),
                    memory_total=whole(named.get("vram total memory (b)")),
                    temperature=_any(named, "temperature (sensor junction)", "temperature (sensor edge)"),
                    power=_any(named, "current socket graphics package power", "average graphics package power"),
                )
            )  # fmt: skip
        return found


def _by_gpu(*command: str) -> dict[int, dict[str, Any]] | None:
    """What amd-smi says of each GPU: a list, since ROCm 7 within ``gpu_data``."""
    answer = _parsed(said(*command))
    if isinstance(answer, dict):
        answer = answer.get("gpu_data")
    if not isinstance(answer, list):
        return None
    return {about["gpu"]: about for about in answer if isinstance(about, dict) and isinstance(about.get("gpu"), int)}


def _holders(about: dict[str, Any]) -> list[dict[str, Any]]:
    listed = about.get("process_list")
    found = []
    for entry in listed if isinstance(listed, list) else []:
        info = entry.get("process_info", entry) if isinstance(entry, dict) else {}
        pid = whole(info.get("pid")) if isinstance(info, dict) else None
        if pid is not None:
            found.append(process(pid, str(info.get("name", "")), _value(info, "memory_usage", "vram_mem")))
    return found


def _value(about: Any, *path: str) -> float | None:
    """A number, alone or as ``{"value": 5, "unit": "MB"}``; bytes for units of bytes."""
    found = _at(about, *path)
    if isinstance(found, dict):
        return number(found.get("value"), _SCALE.get(str(found.get("unit")), 1))
    return number(found)


def _at(about: Any, *path: str) -> Any:
    for key in path:
        about = about.get(key) if isinstance(about, dict) else None
    return about


def _first(about: Any, *paths: tuple[str, ...]) -> float | None:
    return next((value for path in paths if (value := _value(about, *path)) is not None), None)


def _any(named: dict[str, Any], *begins: str) -> float | None:
    found = (number(value) for begin in begins for key, value in named.items() if key.startswith(begin))
    return next((value for value in found if value is not None), None)


def _parsed(text: str | None) -> Any:
    """The JSON in what a tool printed, past warnings before it."""
    if text is None:
        return None
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=0)
    try:
        return json.loads(text[start:])
    except ValueError:
        return None
