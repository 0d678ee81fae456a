"""The judgement on how a job used its host: only what the figures show."""

from __future__ import annotations

from typing import Any

import pytest

from lepton_jupyter.agent.usage import Usage

GIB = 1 << 30


def gpu(util: float | None, **more: Any) -> dict[str, Any]:
    return {"kind": "gpu", "index": 0, "util": util, "memory_used": 10 * GIB, "memory_total": 80 * GIB, **more}


def judged(kernel_cpu: float, *devices: dict[str, Any], cores: int = 8, looks: int = 5, **more: Any) -> dict[str, Any]:
    usage = Usage()
    for _ in range(looks):
        point = {
            "cpu": {"count": cores, "percent": 50.0},
            "memory": {"used": 4 * GIB, "total": 64 * GIB},
            "kernel": {"cpu": kernel_cpu, "memory": GIB, "gpu_memory": None},
            "devices": list(devices),
        }
        usage.add({**point, **more})
    return usage.summary()


@pytest.mark.parametrize(
    ("cpu", "busy", "words"),
    [
        (250, 23, "GPU 23 % busy: the input pipeline is the limit"),
        (780, 23, "GPU 23 % busy: the input pipeline is the limit (all 8 CPU cores are busy)"),
        (780, 65, "GPU 65 % busy: the input pipeline is the limit (all 8 CPU cores are busy)"),
        (99, 23, "GPU 23 % busy: one CPU core is the limit (the input pipeline, or batches too small)"),
        (24, 23, "GPU 23 % busy, CPU 3 %: it mostly waits (disk, network or sleep)"),
        (250, 65, "GPU 65 % busy"),
        (780, 97, "GPU 97 % busy"),
    ],
)
def test_words_on_a_gpu(cpu: float, busy: float, words: str) -> None:
    found = judged(cpu, gpu(busy, mine=True))
    assert found["words"] == words
    assert found["gpu"] == busy
    assert found["cpu"] == pytest.approx(cpu / 8, abs=0.1)
    assert found["gpu_memory"] == 10 * GIB


@pytest.mark.parametrize(
    ("cpu", "cores", "words"),
    [
        (390, 4, "all 4 CPU cores are busy: more cores would help"),
        (99, 1, "its only CPU core is busy"),
        (99, 8, "one of 8 CPU cores is busy: it runs in a single thread"),
        (99, 2, ""),
        (300, 8, ""),
        (1, 8, "CPU hardly busy: it mostly waits (disk, network or sleep)"),
    ],
)
def test_words_without_a_gpu(cpu: float, cores: int, words: str) -> None:
    found = judged(cpu, cores=cores)
    assert (found["words"], found["gpu"], found["gpu_memory"]) == (words, None, None)


def test_too_few_looks_are_no_ground() -> None:
    assert judged(250, gpu(23, mine=True), looks=2)["words"] == ""
    assert judged(250, gpu(23, mine=True), looks=2)["gpu"] == 23
    assert judged(250, looks=0) == {}


def test_only_its_own_gpus_count() -> None:
    found = judged(250, gpu(20, mine=True), gpu(90, index=1, others=True), gpu(0, index=2))
    assert found["gpu"] == 20
    assert judged(300, gpu(90, others=True))["gpu"] is None
    assert judged(300, gpu(90, others=True))["words"] == ""


def test_a_gpu_that_nobody_used_is_said() -> None:
    assert judged(300, gpu(0))["words"] == "the GPU was not used"
    assert judged(99, gpu(0), gpu(0, index=1))["words"] == (
        "no GPU was used; one of 8 CPU cores is busy: it runs in a single thread"
    )


def test_a_container_that_hides_processes_hides_no_use() -> None:
    found = judged(300, gpu(97))
    assert (found["gpu"], found["gpu_memory"], found["words"]) == (97, 10 * GIB, "GPU 97 % busy")


def test_memory_that_was_nearly_full_is_said() -> None:
    assert judged(300, gpu(97, mine=True, memory_used=79 * GIB))["words"] == "GPU 97 % busy; GPU memory was nearly full"
    full = judged(300, memory={"used": 62 * GIB, "total": 64 * GIB})
    assert full["words"] == "the host's memory was nearly full"


def test_others_that_take_the_cpu_are_said() -> None:
    found = judged(120, cpu={"count": 8, "percent": 99.0})
    assert found["words"] == "the host's CPU is busy with other work; this job had 15 % of it"


def test_what_is_unsupported_is_not_judged() -> None:
    found = judged(300, gpu(None, mine=True))
    assert (found["gpu"], found["words"]) == (None, "")
    blank = {"kernel": None, "cpu": {"count": None, "percent": None}, "memory": {"used": None, "total": None}}
    assert judged(0, gpu(None), **blank)["cpu"] is None
