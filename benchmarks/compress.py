"""How small and how fast networks get: Deep Compression's table, and whole pipelines against fp32.

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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lepton_jupyter.ml import compress, frameworks, packed
from lepton_jupyter.ml.compressors import Compressor, Task
from lepton_jupyter.ml.compressors.pruning import Pruning
from lepton_jupyter.ml.compressors.quantizing import Quantizing
from lepton_jupyter.ml.compressors.sharing import Sharing
from lepton_jupyter.ml.compressors.structured import Structured
from lepton_jupyter.ml.measuring import latencies

from ._table import Row, table
from .compress_codec import Codec
from .compress_nets import Convolutions, Data, LeNet5, LeNet300, Trainer, Wide, data, error, trained

#: Ten minutes of two cores.
BUDGET = 2 * 600
#: Training pictures for what is timed: enough to see what accuracy is lost.
FEW = 20_000


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
    teach: bool = False
    bits: int = 3
    bias_bits: int = 4


RECIPES = {
    "LeNet-300-100": Recipe(
        kind=LeNet300, epochs=15, kept=10_600, pruning=40, sharing=12, drop=0.1, ratio=100,
        paper="Deep Compression 40×, 1.64 → 1.58 %",
    ),
    "LeNet-5": Recipe(
        kind=LeNet5, epochs=6, kept=7300, narrow=0.4, narrowing=2, pruning=16, sharing=5, teach=True, ratio=250,
        paper="Deep Compression 39×, 0.80 → 0.74 %",
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
        return Trainer(given, epochs, rate, seed=seed, drop=recipe.drop, teacher=base if recipe.teach else None)

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
    return Result(
        before=error(base, given.test_pictures, given.test_digits),
        after=error(model, given.test_pictures, given.test_digits),
        dense=sum(4 * parameter.numel() for parameter in base.parameters()),
        size=len(file),
        plain=len(lzma.compress(plain, format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9}])),
        nnc=codec.size(state),
        cpu=cpu,
    )


def sizes(given: Data, seeds: Sequence[int], nets: Sequence[str], codec: Codec, quick: bool = False) -> list[Row]:
    """Deep Compression's table."""
    rows = []
    for name in nets:
        recipe, results = RECIPES[name], []
        for seed in seeds:
            results.append(small(recipe, given, seed, quick, codec))
            print(f"{name}, seed {seed}: {results[-1]}", file=sys.stderr, flush=True)
        before, after = (statistics.mean(getattr(each, when) for each in results) for when in ("before", "after"))
        ratio = statistics.mean(each.dense / each.size for each in results)
        files = "/".join(f"{each.size:,}" for each in results)
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
                ours=f"{files} B; error {before:.2f} → {after:.2f} % ({errors}); at most {cpu:.0f} s of CPU",
                peer=f"{recipe.paper}; our arrays as LZMA makes them: {plain:.0f}×; "
                f"as ISO NNC does (nncodec, without headers): {nnc}",
                ratio=f"{ratio:.1f}×",
                met=met if given.name == "MNIST" and not quick else None,
            )
        )
    return rows


def speeds(given: Data, quick: bool = False) -> list[Row]:
    """Whole pipelines against fp32 eager, one thread each."""
    torch.set_num_threads(1)
    rows = []
    given = replace(given, pictures=given.pictures[:FEW], digits=given.digits[:FEW])
    for name, kind, keep in (("3 convolutions", Convolutions, 0.375), ("perceptron, 2 × 2048", Wide, 0.25)):
        base = trained(kind, given, 1 if quick else 2, seed=0)
        rounds = 1 if quick else 3
        task = Task(
            train=Trainer(given, rounds, 1.5e-3, seed=1, teacher=base),
            data=(given.pictures.numpy(), given.digits.numpy()),
        )
        narrow = Structured(keep=keep, rounds=rounds, multiple=8).compress(base, task)
        fast = Quantizing(threads=1).compress(narrow, task)
        contenders = {"ours": fast, "eager": base, "ORT fp32": Quantizing(bits=32, threads=1).compress(base, task)}
        contenders["ORT int8"] = Quantizing(threads=1).compress(base, task)
        runners = {each: frameworks.of(model).runner(model) for each, model in contenders.items()}
        runners["compiled"] = frameworks.of(base).runner(base, compiled=True)
        errors = [
            error(lambda part, model=model: torch.tensor(frameworks.of(model).predict(model, [part.numpy()])),
                  given.test_pictures, given.test_digits)
            for model in (base, fast)
        ]  # fmt: skip
        for batch, goal in ((1, 10), (128, 7)):
            pictures = [given.test_pictures[:batch].numpy()]
            calls = {each: prepare(pictures) for each, prepare in runners.items()}
            found = latencies(calls, batch=batch, rounds=3 if quick else 51, warm_up=10, threads=1)
            eager, ours = found.pop("eager"), found.pop("ours")
            peers = ", ".join(f"{each} {eager.median / mine.median:.2f}×" for each, mine in found.items())
            ratio = eager.median / ours.median
            lost = errors[1] - errors[0]
            rows.append(
                Row(
                    figure=f"{name}, batch {batch}: narrowed + 8 bits in ONNX Runtime against fp32 eager, 1 thread",
                    goal=f"≥ {goal}× at ≤ 0.5 points lost",
                    ours=f"{ours.median:.3g} ms ({ours.low:.3g}–{ours.high:.3g}); "
                    f"error {errors[0]:.2f} → {errors[1]:.2f} %",
                    peer=f"eager {eager.median:.3g} ms ({eager.low:.3g}–{eager.high:.3g}); {peers}",
                    ratio=f"{ratio:.1f}×",
                    met=None if quick else ratio >= goal and lost <= 0.5,
                )
            )
    return rows


def automatic(given: Data, quick: bool = False) -> list[Row]:
    """How long the automatic mode takes to its answer, and what that is worth."""
    torch.set_num_threads(1)
    given = replace(given, pictures=given.pictures[:FEW], digits=given.digits[:FEW])
    base = trained(Convolutions, given, 1 if quick else 2, seed=0)
    budget, trials = (110.0, 1) if quick else (300.0, None)
    pictures, digits = given.test_pictures.numpy(), given.test_digits.numpy()

    def right(model: Any) -> np.ndarray:
        framework = frameworks.of(model)
        answers = [framework.predict(model, [part]) for part in np.array_split(pictures, max(len(pictures) // 500, 1))]
        return np.concatenate(answers).argmax(1) == digits

    began = time.monotonic()
    report = compress(base, data=(given.pictures, given.digits), budget=budget, trials=trials, tolerance=0.005)
    took = time.monotonic() - began
    first = next(index for index, each in enumerate(report.tried) if not each.why) + 1
    before, after = report.before.sizes, report.after.sizes
    assert before and after
    errors = [100 * (1 - float(right(model).mean())) for model in (base, report.model)]
    times = ", ".join(
        f"{base.median / mine.median:.1f}× at batch {mine.batch}"
        for base, mine in zip(report.before.latencies, report.after.latencies, strict=True)
    )
    return [
        Row(
            figure=f"automatic mode, 3 convolutions on {given.name}: time to its answer, of {budget:.0f} s, 1 thread",
            goal="within the budget, at most one step more; ≤ 0.5 points lost on what it chose by",
            ours=f"{took:.0f} s, {len(report.tried)} pipelines tried, the first that fits after "
            f"{sum(each.seconds for each in report.tried[:first]):.0f} s; {' → '.join(report.steps)}",
            peer=f"fp32 eager: {before.zipped / after.zipped:.1f}× smaller zipped, {times}; "
            f"test error {errors[0]:.2f} → {errors[1]:.2f} %",
            ratio=f"{took / budget:.2f}",
            met=None if quick else took <= budget + max(each.seconds for each in report.tried),
        )
    ]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compress", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", nargs="*", default=FIGURES, metavar="FIGURE", help=f"of: {', '.join(FIGURES)}")
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST's four .gz files; else scikit-learn's digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--validate", action="store_true", help="test on a tenth of the training pictures, to choose")
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, measures nothing")
    parser.add_argument("--no-peers", action="store_true", help="measure without nncodec")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, as make bench reads them")
    asked = parser.parse_args(argv)
    if unknown := set(asked.figures) - set(FIGURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(FIGURES)}")
    given = data(asked.data_dir, validate=asked.validate, quick=asked.quick)
    seeds = range(asked.first_seed, asked.first_seed + (1 if asked.quick else asked.seeds))
    rows: list[Row] = []
    for figure in asked.figures:
        if figure == "speed":
            rows += speeds(given, asked.quick)
        elif figure == "automatic":
            rows += automatic(given, asked.quick)
        else:
            rows += sizes(given, seeds, [figure], Codec(wanted=not asked.no_peers), asked.quick)
    print(json.dumps([asdict(row) for row in rows]) if asked.json else table(rows, asked.quick))
    return 0


if __name__ == "__main__":
    sys.exit(main())
