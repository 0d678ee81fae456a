"""How small and how fast PyTorch networks get: Deep Compression's table, and whole pipelines against fp32.

`python -m benchmarks.compress --data-dir FOLDER` with MNIST's four idx files; without, scikit-learn's digits stand in
and the goals, which are MNIST's, do not count. Sizes are those of whole files: palettes, biases and header included.
Options were chosen with `--validate`, on a tenth of the training pictures; the test pictures were not used for it.
"""

from __future__ import annotations

import argparse
import json
import lzma
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lepton_jupyter.ml import frameworks, packed
from lepton_jupyter.ml.compressors import Compressor, Task
from lepton_jupyter.ml.compressors.pruning import Pruning
from lepton_jupyter.ml.compressors.sharing import Sharing
from lepton_jupyter.ml.compressors.structured import Structured

from ._table import Row, table
from .compress_automatic import automatic
from .compress_codec import Codec
from .compress_data import Data
from .compress_nets import Convolutions, LeNet5, LeNet300, Trainer, data, trained
from .compress_rows import error
from .compress_speed import speeds

#: Ten minutes of two cores.
BUDGET = 2 * 600


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one net is made small. `kept` weights of kernels remain."""

    kind: Callable[[], nn.Module]
    epochs: int
    kept: int
    pruning: int
    sharing: int
    ratio: int  # the goal
    paper: str
    narrow: float = 1.0
    narrowing: int = 0
    drop: float = 0.0
    shift: int = 0
    teach: bool = False
    bits: int = 3
    bias_bits: int = 4


RECIPES = {
    "LeNet-300-100": Recipe(
        kind=LeNet300, epochs=15, kept=10_600, pruning=40, sharing=12, drop=0.1, ratio=100,
        paper="Deep Compression 40×, 1.64 → 1.58 %",
    ),
    "LeNet-5": Recipe(
        kind=LeNet5, epochs=6, kept=6300, narrow=0.4, narrowing=2, pruning=26, sharing=9, shift=1, teach=True,
        ratio=250, paper="Deep Compression 39×, 0.80 → 0.74 %",
    ),
}  # fmt: skip


FIGURES = [*RECIPES, "speed", "automatic"]


@dataclass(frozen=True)
class Result:
    """One seed's."""

    before: float
    after: float
    dense: int
    size: int
    plain: int  # the same arrays, as LZMA makes them
    nnc: int | None  # and as ISO's NNC codec does
    cpu: float


def small(recipe: Recipe, given: Data, seed: int, quick: bool, codec: Codec) -> Result:
    """Train, compress, pack, read back and compare."""

    def rounds(count: int) -> int:
        return min(count, 1) if quick else count

    def train(epochs: int, rate: float, seed: int) -> Trainer:
        teacher = base if recipe.teach else None
        return Trainer(given, epochs, rate, seed=seed, drop=recipe.drop, shift=recipe.shift, teacher=teacher)

    base = trained(recipe.kind, given, rounds(recipe.epochs), seed=seed)
    began = time.process_time()
    model: nn.Module = base
    if recipe.narrow < 1:
        task = Task(
            train=train(recipe.narrowing + 1, 1.5e-3, seed), data=(given.pictures.numpy(), given.digits.numpy())
        )
        model = Structured(keep=recipe.narrow, rounds=rounds(recipe.narrowing)).compress(model, task)
    kernels = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim > 1)
    steps: list[tuple[Compressor, Trainer]] = [
        (
            Pruning(density=recipe.kept / kernels, rounds=rounds(recipe.pruning)),
            train(recipe.pruning, 1.5e-3, seed + 100),
        ),
        (
            Sharing(bits=recipe.bits, bias_bits=recipe.bias_bits, rounds=rounds(recipe.sharing)),
            train(recipe.sharing, 5e-4, seed + 200),
        ),
    ]
    for step, trainer in steps:
        model = step.compress(model, Task(train=trainer))
    state = frameworks.of(model).state(model)
    file = packed.pack(state)
    cpu = time.process_time() - began
    back = packed.unpack(file).arrays
    assert all(back[name].tobytes() == array.tobytes() for name, array in state.items())
    frameworks.of(model).restore(model, back)
    places = [np.unique(array, return_inverse=True) for array in state.values()]
    plain = b"".join(values.astype("f2").tobytes() + at.astype("u1").tobytes() for values, at in places)
    tests = given.test_pictures.numpy(), given.test_digits.numpy()
    return Result(
        before=error(base, *tests),
        after=error(model, *tests),
        dense=sum(4 * parameter.numel() for parameter in base.parameters()),
        size=len(file),
        plain=len(lzma.compress(plain, format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9}])),
        nnc=codec.size(state),
        cpu=cpu,
    )


def sizes(given: Data, seeds: Sequence[int], nets: Sequence[str], codec: Codec, quick: bool = False) -> list[Row]:
    """Deep Compression's table. On one thread: two need twice the CPU, and hardly less time."""
    torch.set_num_threads(1)
    rows = []
    for name in nets:
        recipe, results = RECIPES[name], []
        for seed in seeds:
            results.append(small(recipe, given, seed, quick, codec))
            print(f"{name}, seed {seed}: {results[-1]}", file=sys.stderr, flush=True)
        before, after = (statistics.mean(getattr(each, when) for each in results) for when in ("before", "after"))
        ratio = statistics.mean(each.dense / each.size for each in results)
        files = "/".join(f"{each.size:,}" for each in results) + f" B{_more(recipe)}"
        errors = ", ".join(f"{each.before:.2f} → {each.after:.2f}" for each in results)
        plain = statistics.mean(each.dense / each.plain for each in results)
        coded = [each.nnc for each in results if each.nnc is not None]
        nnc = "/".join(f"{each:,}" for each in coded) + " B" if coded else codec.why
        cpu = max(each.cpu for each in results)
        met = ratio >= recipe.ratio and after <= before + 0.05 and cpu <= BUDGET
        rows.append(
            Row(
                figure=f"{name} on {given.name}: whole file against fp32, mean of {len(results)} seeds",
                goal=f"≥ {recipe.ratio}× at ≤ +0.05 points of error, ≤ {BUDGET} s of CPU",
                ours=f"{files}; error {before:.2f} → {after:.2f} % ({errors}); at most {cpu:.0f} s of CPU",
                peer=f"{recipe.paper}; our arrays as LZMA makes them: {plain:.0f}×; "
                f"as ISO NNC does (nncodec, without headers): {nnc}",
                ratio=f"{ratio:.1f}×",
                met=met if given.name == "MNIST" and not quick else None,
            )
        )
    return rows


def _more(recipe: Recipe) -> str:
    """What the net is trained on with, and the one in 32 bits was not."""
    ways = {"pixels blacked out": recipe.drop, "pictures moved by a pixel": recipe.shift, "a teacher": recipe.teach}
    return f", made with {' and '.join(way for way, used in ways.items() if used)}"


def searched(given: Data, quick: bool = False) -> list[Row]:
    """The automatic mode, on one thread."""
    torch.set_num_threads(1)
    few = given.few(20_000)
    base = trained(Convolutions, few, 1 if quick else 2, seed=0)
    learned = few.pictures.numpy(), few.digits.numpy()
    tests = few.test_pictures.numpy(), few.test_digits.numpy()
    return automatic(base, f"3 convolutions on {given.name}", learned, tests, quick)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compress", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", nargs="*", default=FIGURES, metavar="FIGURE", help=f"of: {', '.join(FIGURES)}")
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST's four .gz files; else scikit-learn's digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--validate", action="store_true", help="test on a tenth of the training pictures, to choose")
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, measures nothing")
    parser.add_argument("--no-peers", action="store_true", help="measure without nncodec and NNCF/OpenVINO")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, as make bench reads them")
    asked = parser.parse_args(argv)
    if unknown := set(asked.figures) - set(FIGURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(FIGURES)}")
    given = data(asked.data_dir, validate=asked.validate, quick=asked.quick)
    seeds = range(asked.first_seed, asked.first_seed + (1 if asked.quick else asked.seeds))
    rows: list[Row] = []
    for figure in asked.figures:
        if figure == "speed":
            rows += speeds(given, asked.quick, peers=not asked.no_peers)
        elif figure == "automatic":
            rows += searched(given, asked.quick)
        else:
            rows += sizes(given, seeds, [figure], Codec(wanted=not asked.no_peers), asked.quick)
    print(json.dumps([asdict(row) for row in rows]) if asked.json else table(rows, asked.quick))
    return 0


if __name__ == "__main__":
    sys.exit(main())
