"""What the automatic mode chooses among: pipelines of a few numbers each. Runs in the kernel that holds the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .compressors import Compressor
from .compressors.distilling import Distilling
from .compressors.dynamic import Dynamic
from .compressors.pruning import Pruning
from .compressors.quantizing import Quantizing
from .compressors.sharing import Sharing
from .compressors.structured import Structured
from .compressors.weight_only import WeightOnly

KEEPS = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15)
DENSITIES = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05)
PALETTES = (0, 6, 5, 4, 3)
#: What the model ends as, in a runtime of its own: 32 changes the runtime alone, 8 is calibrated, the others need
#: neither training nor calibration.
ENDS: Mapping[Any, Callable[[], Compressor]] = {
    32: lambda: Quantizing(bits=32),
    8: Quantizing,
    4: lambda: WeightOnly(bits=4),
    "weights": WeightOnly,
    "half": lambda: WeightOnly(bits=16),
    "dynamic": Dynamic,
}
#: Those of each framework; 0: none. For Keras 8 is dynamic already.
RUNTIMES: Mapping[str, tuple[Any, ...]] = {
    "torch": (0, 32, 8, 4, "weights", "half", "dynamic"),
    "keras": (0, 32, 8, 4, "half"),
}
#: What work costs beside the framework's own, where the clock is not asked: as we measured it on average.
COSTS: Mapping[Any, float] = {0: 1.0, 32: 0.5, 8: 0.25, 4: 0.25, "weights": 0.5, "half": 0.5, "dynamic": 0.35}

#: Rounds of training for a first look, and how many times more for what looks good.
CHEAP = {"student": 6, "keep": 2, "density": 3, "bits": 1}
LONGER = 4

#: Tried before all others: each a guess that often is right. Those come first that train nothing, so that even a budget
#: which is small for the model finds something.
FIRST: tuple[dict[str, Any], ...] = (
    {"runtime": "weights"},
    {"runtime": 8},
    {"runtime": "half"},
    {"runtime": "dynamic"},
    {"density": 1, "bits": 2},
    {"keep": 2, "runtime": 8},
    {"density": 3, "bits": 3, "runtime": 8},
    {"keep": 3, "density": 2, "bits": 3, "runtime": 8},
    {"runtime": 32},
)


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A student instead of the model, narrowed to `keep`, pruned to `density`, palettes of `bits`, then a `runtime`."""

    student: bool = False
    keep: float = 1.0
    density: float = 1.0
    bits: int = 0
    runtime: Any = 0

    @classmethod
    def suggested(cls, trial: Any, able: Mapping[str, tuple[Any, ...]]) -> Pipeline:
        """As Optuna's trial suggests it, out of what can be done. What has an order goes in as a number."""
        return cls(**{
            name: values[trial.suggest_int(name, 0, len(values) - 1)]
            if name in ("keep", "density", "bits")
            else trial.suggest_categorical(name, values)
            for name, values in able.items()
        })  # fmt: skip

    def steps(self, student: Any, longer: bool) -> list[tuple[str, Compressor, int]]:
        """What each step is called, what does it, and for how many rounds it trains."""
        rounds = {name: count * (LONGER if longer else 1) for name, count in CHEAP.items()}
        made: list[tuple[str, bool, Callable[[int], Compressor]]] = [
            ("student", self.student, lambda count: Distilling(student=student, rounds=count)),
            ("keep", self.keep < 1, lambda count: Structured(keep=self.keep, rounds=count)),
            ("density", self.density < 1, lambda count: Pruning(density=self.density, rounds=count)),
            ("bits", self.bits > 0, lambda count: Sharing(bits=self.bits, rounds=count)),
        ]
        found = [(name, make(rounds[name]), rounds[name]) for name, wanted, make in made if wanted]
        return [*found, ("runtime", ENDS[self.runtime](), 0)] if self.runtime else found


def able(framework: str, trains: bool, student: bool) -> dict[str, tuple[Any, ...]]:
    """What can be chosen for a model of this framework, as far as one knows beforehand."""
    found: dict[str, tuple[Any, ...]] = {}
    if trains:
        found = {"keep": KEEPS, "density": DENSITIES, "bits": PALETTES}
        if student:
            found["student"] = (False, True)
    return found | {"runtime": RUNTIMES.get(framework, (0,))}


def start(able: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    """The first guesses, as Optuna enqueues them: complete, and only what can be done."""
    neutral: dict[str, Any] = {"keep": 0, "density": 0, "bits": 0, "runtime": 0, "student": False}
    guesses = [{**neutral, **guess} for guess in (*FIRST, {"student": True, "runtime": 8})]
    return [
        {name: guess[name] for name in able}
        for guess in guesses
        if guess["runtime"] in able["runtime"] and all(name in able for name in guess if guess[name] != neutral[name])
    ]
