"""Whether a cell can run on a host, said before it starts: what is missing there, and what differs from here.

On the user's side. What the host says of itself is only compared and shown.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...agent.facts import facts
from ...agent.installed import normal
from ...agent.versions import needed_driver, release, too_old
from . import imports as _imports

#: Less free disk than this, in bytes, is said.
_LITTLE_DISK = 1 << 30
_MAX_TEXT, _MAX_ENTRIES = 200, 20_000


@dataclass(frozen=True)
class Facts:
    """What decides, of one side. `Facts.parse` reads them from what a host answers."""

    python: str = ""
    executable: str = ""
    machine: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)  # normalised name: version
    modules: Mapping[str, bool] = field(default_factory=dict)  # of those that were asked for
    torch: Mapping[str, str] = field(default_factory=dict)  # version, cuda, hip
    tensorflow: Mapping[str, str] = field(default_factory=dict)
    driver: str = ""  # NVIDIA's
    gpus: tuple[str, ...] = ()
    rocm: str = ""
    disk: int | None = None  # bytes free where the host keeps jobs

    @classmethod
    def parse(cls, answer: Any) -> Facts:
        """From the answer to ``facts``; what makes no sense in it is left out."""
        said = answer if isinstance(answer, dict) else {}
        modules = said.get("modules")
        disk, gpus = said.get("disk"), said.get("gpus")
        return cls(
            python=_word(said.get("python")),
            executable=_word(said.get("executable")),
            machine=_word(said.get("machine")),
            packages=_words(said.get("packages")),
            torch=_words(said.get("torch")),
            tensorflow=_words(said.get("tensorflow")),
            driver=_word(said.get("driver")),
            rocm=_word(said.get("rocm")),
            modules={str(key): value is True for key, value in modules.items()} if isinstance(modules, dict) else {},
            gpus=tuple(_word(gpu) for gpu in gpus[:64]) if isinstance(gpus, list) else (),
            disk=disk if isinstance(disk, int) else None,
        )

    @classmethod
    def here(cls, modules: Iterable[str] = ()) -> Facts:
        """Of this process and this machine."""
        return cls.parse(facts(modules=sorted({_imports.top(module) for module in modules})))


@dataclass(frozen=True)
class Remark:
    """Something to know before the cell runs."""

    fatal: bool  # it would fail there
    words: str  # one line
    cure: str = ""


def asked(imports: Iterable[str]) -> list[str]:
    """The modules to ask a host about, for `preflight`."""
    return sorted({_imports.top(module) for module in _imports.from_elsewhere(imports)})


def preflight(
    here: Facts, there: Facts, imports: Collection[str], *, code: str = "", gpus: int = 0, host: str = "the host"
) -> list[Remark]:
    """What stands in the way of a cell on a host, the worst first; [] when nothing does.

    `imports` are the modules it needs, `code` is the cell (what it does without or installs by itself is not missed),
    `gpus` how many it asks for, `host` how to call the host.
    """
    modules = _imports.from_elsewhere(imports)
    tops = {_imports.top(module) for module in modules}
    wants_gpu = gpus > 0 or bool(re.search(r"\bcuda\b|\bGPU\b", code))
    found = [
        *_missing(here, there, modules, code, host),
        *_gpus(here, there, gpus, host),
        *_framework(
            "PyTorch", there, there.torch, bool(tops & {"torch", "torchvision", "torchaudio"}), wants_gpu, host
        ),
        *_framework("TensorFlow", there, there.tensorflow, bool(tops & {"tensorflow", "keras"}), wants_gpu, host),
        *_versions(here, there, modules),
        *_disk(there, host),
    ]
    return sorted(found, key=lambda remark: not remark.fatal)


def in_one_line(remarks: Iterable[Remark]) -> str:
    """The remarks that stop nothing, together."""
    return "; ".join(remark.words for remark in remarks if not remark.fatal)


def _missing(here: Facts, there: Facts, modules: Iterable[str], code: str, host: str) -> list[Remark]:
    cell = _imports.of_code(code)
    spared = {_imports.top(module) for module in cell.optional} - {_imports.top(module) for module in cell.needed}
    missing = {}
    for module in modules:
        top = _imports.top(module)
        # What is no package that we know may be the user's own, or made there by an earlier cell: Python says it best.
        if there.modules.get(top) is False and top not in spared and _imports.is_package(module):
            missing[top] = _pinned(module, here)
    if not missing:
        return []
    names = ", ".join(missing)
    words = f"{names} {'is' if len(missing) == 1 else 'are'} not installed on {host}"
    python = there.executable or "python3"
    packages = " ".join(dict.fromkeys(missing.values()))
    cure = (
        f"A new kernel that has it: --env auto --fresh\nOr in this one, by a cell that runs there: %pip install "
        f"{packages}\nOr on {host}: {python} -m pip install {packages}"
    )
    return [Remark(fatal=not cell.installs, words=words, cure=cure)]


def _pinned(module: str, here: Facts) -> str:
    name = _imports.distribution_name(module)
    version = here.packages.get(normal(name), "").partition("+")[0]
    return f"{name}=={version}" if version else name


def _gpus(here: Facts, there: Facts, gpus: int, host: str) -> list[Remark]:
    if gpus > len(there.gpus) and not there.rocm:
        has = f"{len(there.gpus)}" if there.gpus else "none"
        words = f"the cell asks for {gpus} GPU{'' if gpus == 1 else 's'}, {host} has {has} that NVIDIA's driver knows"
        return [Remark(True, words, "Ask for fewer with --gpus, or name another target with --on.")]
    if here.gpus and not there.gpus and not there.rocm:
        return [Remark(False, f"{host} has no GPU, this machine has {here.gpus[0]}")]
    return []


def _framework(
    name: str, there: Facts, build: Mapping[str, str], imported: bool, wants_gpu: bool, host: str
) -> list[Remark]:
    """Whether a framework's build there can use the GPUs there."""
    if not imported or not build or not there.gpus:
        return []
    version, cuda = build.get("version", ""), build.get("cuda", "")
    title = f"{name} {version}".strip()
    if "cuda" not in build:
        built = "for AMD" if build.get("hip") else "without CUDA"
        words = f"{title} on {host} is built {built}: it can't use {_gpu(there)}"
        cure = f"A new kernel with a build that fits: --env auto --fresh\nOr install the one for CUDA on {host}."
        return [Remark(wants_gpu, words, cure)]
    if too_old(there.driver, cuda):
        needed = f"which needs driver {needed_driver(cuda)} or newer"
        words = f"{title} on {host} is built for CUDA {cuda}, {needed}; {host} has {there.driver}"
        cure = f"A new kernel with a build that fits: --env auto --fresh\nOr update the driver of {host}."
        return [Remark(wants_gpu, words, cure)]
    return []


def _gpu(there: Facts) -> str:
    count = len(there.gpus)
    return there.gpus[0] if count == 1 else f"{count} × {there.gpus[0]}"


def _versions(here: Facts, there: Facts, modules: Iterable[str]) -> list[Remark]:
    """Python and packages whose major or minor version differs."""
    pairs = {"Python": (there.python, here.python)}
    for module in modules:
        for name in _imports.distributions(module):
            pairs[name] = (there.packages.get(name, ""), here.packages.get(name, ""))
    differing = [
        f"{name} {a} there, {b} here" for name, (a, b) in pairs.items() if a and b and release(a)[:2] != release(b)[:2]
    ]
    return [Remark(False, ", ".join(differing), "--env auto takes the versions of this notebook.")] if differing else []


def _disk(there: Facts, host: str) -> list[Remark]:
    if there.disk is None or there.disk >= _LITTLE_DISK:
        return []
    return [Remark(False, f"{host} has only {there.disk / (1 << 20):.0f} MiB of disk free")]


def _word(value: Any) -> str:
    """Text of a host, fit to be shown in a line."""
    return re.sub(r"[^ -~\u00a1-\U0010ffff]", "", value)[:_MAX_TEXT] if isinstance(value, str) else ""


def _words(value: Any) -> dict[str, str]:
    pairs = list(value.items())[:_MAX_ENTRIES] if isinstance(value, dict) else []
    return {_word(key): _word(text) for key, text in pairs}
