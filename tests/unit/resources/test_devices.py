"""What the vendors' tools say, as devices: real outputs, unsupported values, tools that fail."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from lepton_jupyter.agent import vendor
from lepton_jupyter.agent.devices import Devices
from tests.unit.resources.conftest import Install

GIB = 1 << 30
H100 = "0, GPU-5a1f, NVIDIA H100 80GB HBM3, 23, 40960, 81559, 45, 312.55"
#: A card behind MIG tells no utilisation, an old one no power.
OLD = "1, GPU-77b0, NVIDIA A100-SXM4-40GB, [N/A], 5, 40960, 31, [Not Supported]"
NVIDIA = {
    "--query-gpu": f"{H100}\n{OLD}",
    "--query-compute-apps": "GPU-5a1f, 4711, /usr/bin/python3 -m train, a=1, b=2, 40000\nGPU-5a1f, 12, [N/A], [N/A]",
}
AMD_METRIC = {
    "gpu": 0,
    "usage": {"gfx_activity": {"value": 87, "unit": "%"}, "umc_activity": {"value": 12, "unit": "%"}},
    "power": {"socket_power": {"value": 412, "unit": "W"}},
    "temperature": {
        "edge": "N/A",
        "hotspot": {"value": 61, "unit": "C"},
        "mem": {"value": 50, "unit": "C"},
    },
    "mem_usage": {"total_vram": {"value": 196592, "unit": "MB"}, "used_vram": {"value": 1024, "unit": "MB"}},
}
AMD = {
    "metric": json.dumps([AMD_METRIC]),
    "static": json.dumps([{"gpu": 0, "asic": {"market_name": "AMD Instinct MI300X", "vendor_id": "0x1002"}}]),
    "process": json.dumps(
        [
            {
                "gpu": 0,
                "process_list": [
                    {
                        "process_info": {
                            "name": "python3",
                            "pid": 4711,
                            "memory_usage": {"vram_mem": {"value": 512, "unit": "MB"}},
                        }
                    }
                ],
            }
        ]
    ),
}
ROCM = {
    "card0": {
        "Temperature (Sensor edge) (C)": "31.0",
        "Current Socket Graphics Package Power (W)": "7.222",
        "GPU use (%)": "19",
        "VRAM Total Memory (B)": "21458059264",
        "VRAM Total Used Memory (B)": "27856896",
        "Card Series": "Radeon RX 7900 XT",
    },
    "card1": {"GPU use (%)": "N/A", "Device Name": "Phoenix3"},
    "system": {"Driver version": "6.8.5"},
}
TPU = """TPU Chips
┏━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━┓
┃ Chip        ┃ Type         ┃ Devices ┃ PID  ┃
┡━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━┩
│ /dev/vfio/0 │ TPU v6e chip │ 1       │ 1052 │
│ /dev/vfio/1 │ TPU v6e chip │ 1       │ None │
└─────────────┴──────────────┴─────────┴──────┘
TPU Runtime Utilization
┏━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━┓
┃ Chip ┃ HBM usage             ┃ Duty cycle ┃
┡━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━┩
│ 8    │ 18.50 GiB / 31.25 GiB │    100.00% │
│ 9    │ N/A                   │        N/A │
└──────┴───────────────────────┴────────────┘
TensorCore Utilization
┏━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┓
┃ Core ID ┃ TensorCore Utilization ┃
┡━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━┩
│ 0       │                 13.60% │
└─────────┴────────────────────────┘"""


def test_a_host_without_accelerators(tools: Install) -> None:
    assert Devices().read() == []


def test_nvidia_smi(tools: Install) -> None:
    tools("nvidia-smi", NVIDIA)
    first, second = Devices().read()
    holders = first.pop("processes")
    assert first == {
        "kind": "gpu", "index": 0, "name": "NVIDIA H100 80GB HBM3", "util": 23, "memory_used": 40 * GIB,
        "memory_total": 81559 << 20, "temperature": 45, "power": 312.55,
    }  # fmt: skip
    assert [(holder["pid"], holder["name"], holder["memory"]) for holder in holders] == [
        (4711, "python3", 40000 << 20),
        (12, "", None),
    ]
    assert (second["util"], second["power"], second["memory_used"], second["processes"]) == (None, None, 5 << 20, [])


def test_a_card_of_an_old_nvidia_smi_that_lists_no_processes(tools: Install) -> None:
    tools("nvidia-smi", {"--query-gpu": H100})
    assert [(device["util"], device["processes"]) for device in Devices().read()] == [(23, [])]


def test_nvidia_ml_py_is_asked_first(tools: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools("nvidia-smi", {"": "not to be asked"})
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "pynvml.py").write_text(
        "from types import SimpleNamespace as New\n"
        "class NVMLError(Exception): pass\n"
        "NVML_TEMPERATURE_GPU = 0\n"
        "def nvmlInit(): pass\n"
        "def nvmlDeviceGetCount(): return 2\n"
        "def nvmlDeviceGetHandleByIndex(index):\n"
        "    if index: raise NVMLError('GPU is lost')\n"
        "    return index\n"
        "def nvmlDeviceGetName(handle): return b'NVIDIA L4'\n"
        "def nvmlDeviceGetMemoryInfo(handle): return New(used=5, total=100)\n"
        "def nvmlDeviceGetUtilizationRates(handle): raise NVMLError('Not Supported')\n"
        "def nvmlDeviceGetTemperature(handle, sensor): return 40\n"
        "def nvmlDeviceGetPowerUsage(handle): return 72500\n"
        "def nvmlDeviceGetComputeRunningProcesses(handle): return [New(pid=7, usedGpuMemory=None)]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    (device,) = Devices().read()
    assert (device["name"], device["util"], device["memory_used"], device["power"]) == ("NVIDIA L4", None, 5, 72.5)
    assert [(holder["pid"], holder["memory"]) for holder in device["processes"]] == [(7, None)]


def test_a_pynvml_without_a_driver_leaves_it_to_the_tool(
    tools: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools("nvidia-smi", NVIDIA)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "pynvml.py").write_text("def nvmlInit(): raise OSError('libnvidia-ml.so.1 not found')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    assert len(Devices().read()) == 2


@pytest.mark.parametrize("wrap", [False, True])
def test_amd_smi(tools: Install, wrap: bool) -> None:
    says = dict(AMD)
    if wrap:  # as ROCm 7 does, after a warning
        says["metric"] = "WARNING: not all is supported\n" + json.dumps({"gpu_data": [AMD_METRIC]})
    tools("amd-smi", says)
    tools("rocm-smi", {"": "not to be asked"})
    (device,) = Devices().read()
    (holder,) = device.pop("processes")
    assert device == {
        "kind": "gpu", "index": 0, "name": "AMD Instinct MI300X", "util": 87, "memory_used": GIB,
        "memory_total": 196592 << 20, "temperature": 61, "power": 412,
    }  # fmt: skip
    assert (holder["pid"], holder["name"], holder["memory"]) == (4711, "python3", 512 << 20)


def test_rocm_smi(tools: Install) -> None:
    tools("rocm-smi", {"--json": json.dumps(ROCM)})
    first, second = Devices().read()
    assert first == {
        "kind": "gpu", "index": 0, "name": "Radeon RX 7900 XT", "util": 19, "memory_used": 27856896,
        "memory_total": 21458059264, "temperature": 31, "power": 7.222, "processes": [],
    }  # fmt: skip
    assert (second["name"], second["util"], second["memory_total"], second["power"]) == ("Phoenix3", None, None, None)


def test_tpu_info(tools: Install) -> None:
    tools("tpu-info", {"": TPU})
    first, second = Devices().read()
    (holder,) = first.pop("processes")
    assert first == {
        "kind": "tpu", "index": 0, "name": "TPU v6e chip", "util": 100, "memory_used": int(18.5 * GIB),
        "memory_total": int(31.25 * GIB), "temperature": None, "power": None,
    }  # fmt: skip
    assert holder["pid"] == 1052
    assert (second["util"], second["memory_used"], second["processes"]) == (None, None, [])


def test_chips_of_two_devices_each(tools: Install) -> None:
    """TPU v3 and older: a chip is two devices."""
    row = "│ /dev/accel0 │ TPU v3 chip │ 2 │ 5 │\n"
    busy = "│ 0 │ 1.00 GiB / 16.00 GiB │ 10.00% │\n│ 1 │ 3.00 GiB / 16.00 GiB │ 30.00% │\n"
    tools("tpu-info", {"": f"TPU Chips\n{row}{busy}"})
    (device,) = Devices().read()
    assert (device["util"], device["memory_used"], device["memory_total"]) == (20, 4 * GIB, 32 * GIB)


@pytest.mark.parametrize(
    "said", ["", "{", "[]", "null", '{"card0": 5}', '[{"gpu": "x"}]', "a,b\n,,,,,,,", "\x00│││", "TPU"]
)
@pytest.mark.parametrize("tool", ["nvidia-smi", "amd-smi", "rocm-smi", "tpu-info"])
def test_nonsense_is_no_device(tools: Install, tool: str, said: str) -> None:
    tools(tool, {"": said})
    for device in Devices().read():
        assert device["util"] is None
        assert device["memory_total"] is None


def test_a_tool_that_fails_is_let_rest_and_its_devices_stay(tools: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tools("nvidia-smi", NVIDIA)
    devices = Devices()
    assert devices.read()[0]["util"] == 23
    path.write_text("#!/bin/sh\nexit 9\n")  # "GPU is lost"
    lost = devices.read()
    assert [(device["name"], device["util"], device["memory_total"]) for device in lost] == [
        ("NVIDIA H100 80GB HBM3", None, 81559 << 20),
        ("NVIDIA A100-SXM4-40GB", None, 40960 << 20),
    ]
    tools("nvidia-smi", NVIDIA)
    assert devices.read()[0]["util"] is None
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 31)
    assert devices.read()[0]["util"] == 23


def test_a_tool_that_hangs_is_given_up(tools: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor, "_TIMEOUT", 0.5)
    path = tools("nvidia-smi", {})
    path.write_text(f"#!{sys.executable}\nimport time; time.sleep(60)\n")
    began = time.monotonic()
    assert Devices().read() == []
    assert time.monotonic() - began < 20
