"""Models written as files that run elsewhere, each loaded again, compared with the model and timed.

Runs in the kernel that holds the model. A file holds the model alone: no state of an optimizer, no examples but two
small ones where the format wants some, no paths of the user's. Who asks for several formats gets one file each.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from . import _formats, frameworks
from ._formats import Loaded
from .frameworks._base import Array
from .measuring import Latency, latencies

#: Format -> how its files end.
ENDINGS = {"onnx": ".onnx", "litert": ".tflite", "pt2": ".pt2", "keras": ".keras", "safetensors": ".safetensors"}
#: (framework, format) -> what writes the file and loads it again.
WAYS: dict[tuple[str, str], Callable[[Any, Path, Sequence[Array]], Loaded]] = {
    ("torch", "onnx"): _formats.torch_onnx,
    ("torch", "pt2"): _formats.torch_pt2,
    ("torch", "safetensors"): _formats.torch_safetensors,
    ("keras", "litert"): _formats.keras_litert,
    ("keras", "keras"): _formats.keras_keras,
    ("keras", "safetensors"): _formats.keras_safetensors,
    ("onnx", "onnx"): _formats.onnx_onnx,
    ("litert", "litert"): _formats.litert_litert,
}
#: How far an exported model's answer may be from the model's, in parts of its largest number; and of one in 16 bits.
TOLERANCE, ROUGH = 1e-3, 2e-2


@dataclass(frozen=True, kw_only=True)
class Exported:
    """One file: its size, the largest difference between its answers and the model's, and its time at a batch of 1."""

    format: str
    path: Path
    bytes: int
    agrees: float
    latency: Latency


def export(
    model: Any,
    path: str | os.PathLike[str],
    formats: str | Sequence[str] | None = None,
    *,
    inputs: Sequence[Array],
) -> list[Exported]:
    """Write the model in these formats (None: all that it has) and check what was written, with examples of its inputs.

    `path` is a folder, in which the files are called model.onnx and so on, or a file with a format's ending, which then
    is the format. Nothing is left of a file that can't be loaded or answers otherwise: that raises ConfigError, as does
    a format that this kind of model does not have.
    """
    framework, target = frameworks.of(model), Path(path)
    ending = next((name for name, tail in ENDINGS.items() if target.suffix == tail), None)
    can = [name for kind, name in WAYS if kind == framework.name]
    wanted = [formats] if isinstance(formats, str) else list(formats or ([ending] if ending else can))
    wrong = [each for each in wanted if each not in can]
    if wrong:
        raise ConfigError(
            f"a {framework.name} model does not become {', '.join(wrong)}", hint=f"It can become {', '.join(can)}."
        )
    if ending is not None and wanted != [ending]:
        raise ConfigError(
            f"{target.name} is one file of the format {ending}, not {', '.join(wanted)}", hint="Give a folder."
        )
    inputs = [np.asarray(part) for part in inputs]
    if not inputs or not len(inputs[0]):
        raise ConfigError("an export is checked with examples of the model's inputs", hint="Give inputs=[array, …].")
    folder = target.parent if ending is not None else target
    folder.mkdir(parents=True, exist_ok=True)
    answer = framework.predict(model, inputs)
    rough = any(each.dtype.itemsize == 2 for each in framework.state(model).values())
    reach = (ROUGH if rough else TOLERANCE) * max(1.0, float(np.abs(answer).max()))
    found: dict[str, tuple[Path, float, Loaded]] = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".exporting-") as hidden:
        for name in wanted:
            file = Path(hidden, target.name if ending is not None else f"model{ENDINGS[name]}")
            loaded = WAYS[framework.name, name](model, file, inputs)
            found[name] = (file, _difference(name, loaded.answer(inputs), answer, reach), loaded)
        times = latencies(
            {name: loaded.runner([part[:1] for part in inputs]) for name, (_, _, loaded) in found.items()},
            batch=1,
            threads=framework.threads(),
        )
        for file, _, _ in found.values():
            os.replace(file, folder / file.name)
    return [
        Exported(
            format=name,
            path=folder / file.name,
            bytes=(folder / file.name).stat().st_size,
            agrees=difference,
            latency=times[name],
        )
        for name, (file, difference, _) in found.items()
    ]


def _difference(name: str, found: Array, wanted: Array, reach: float) -> float:
    if found.shape != wanted.shape or not np.isfinite(found).all():
        raise ConfigError(
            f"the model as {name} answers not with finite numbers in the shape {wanted.shape}, but {found.shape}",
            hint="It was not written. Another format may be able to do what this model does.",
        )
    difference = float(np.abs(found - wanted).max())
    if difference > reach:
        raise ConfigError(
            f"the model as {name} answers otherwise than the model: the largest difference is {difference:.3g}",
            hint="It was not written. Does the model draw random numbers, or keep a state from one call to the next?",
        )
    return difference
