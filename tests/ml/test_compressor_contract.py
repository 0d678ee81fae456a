"""The suite that every compressor passes, on the compressors we ship and each kind of model they claim."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from lepton_jupyter import registry
from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import frameworks
from lepton_jupyter.ml.compressors import Task
from lepton_jupyter.testing import CompressorCase, CompressorContract

from . import digits
from .digits import right, task, trained


@dataclass(frozen=True, kw_only=True)
class Row:
    """How a compressor is tested: with options that take little time, on these models of PyTorch and of Keras."""

    options: dict[str, Any]
    wrong: list[dict[str, Any]]
    torch: tuple[str, ...] = tuple(digits.KINDS)
    keras: tuple[str, ...] = ("mlp",)
    promises: dict[str, Any] = field(default_factory=dict)


TABLE = {
    "distilling": Row(
        options={"rounds": 3, "keep": 0.75},
        wrong=[{"alpha": 2}, {"temperature": 0}, {"rounds": 0}, {"depth": 0}, {"hints": ("ab",)}],
        promises={"smaller": "arrays"},
    ),
    "dynamic": Row(
        options={"threads": 1},
        wrong=[{"arithmetic": "none"}],
        torch=("mlp",),
        keras=(),
    ),
    "half": Row(
        options={"kind": "fp16"},
        wrong=[{"kind": "fp8"}],
        keras=(),
        promises={"smaller": "arrays", "needs": "nothing", "keeps_zeros": True},
    ),
    "litert": Row(
        options={"threads": 1},
        wrong=[{"bits": 3}, {"bits": 16, "weights_only": True}],
        torch=(),
        promises={"needs": "nothing"},
    ),
    "pruning": Row(
        options={"density": 0.5, "rounds": 2},
        wrong=[{"density": 0}, {"density": 1.5}, {"rounds": 0}, {"ramp": 1}],
        keras=(),
        promises={"keeps_zeros": True},
    ),
    "pt2e": Row(
        options={"samples": 64},
        wrong=[{"samples": 0}],
        torch=("mlp",),
        keras=(),
    ),
    "quantization_aware": Row(
        options={"rounds": 1, "threads": 1},
        wrong=[{"bits": 3}, {"rounds": 0}],
        torch=("mlp",),
        keras=(),
    ),
    "quantizing": Row(
        options={"threads": 1},
        wrong=[{"bits": 3}],
        torch=("mlp",),
        keras=(),
        promises={"smaller": "arrays"},
    ),
    "semi_structured": Row(
        options={"rounds": 4},
        wrong=[{"rounds": 0}, {"ramp": -0.1}],
        promises={"keeps_zeros": True},
    ),
    "sharing": Row(
        options={"bits": 4, "rounds": 1},
        wrong=[{"bits": 9}, {"bits": 0}, {"bias_bits": 0}, {"rounds": -1}],
        keras=(),
        promises={"keeps_zeros": True},
    ),
    "structured": Row(
        options={"keep": 0.75, "rounds": 2},
        wrong=[{"keep": 0}, {"keep": 1.1}, {"steps": 0}, {"multiple": 0}, {"rounds": -1}],
        promises={"smaller": "arrays"},
    ),
    "weight_only": Row(
        options={"threads": 1},
        wrong=[{"bits": 3}, {"block": 20}],
        torch=("mlp",),
        keras=(),
    ),
}  # fmt: skip


def test_every_compressor_we_ship_is_held_to_the_contract() -> None:
    assert list(TABLE) == registry.names("ml.compressors")


def cases() -> list[tuple[str, str, str]]:
    return [
        (name, framework, kind)
        for name, row in TABLE.items()
        for framework in ("torch", "keras")
        for kind in getattr(row, framework)
    ]


class TestBuiltIns(CompressorContract):
    """All of them, on models that know scikit-learn's digits."""

    @pytest.fixture(params=cases(), ids="-".join)
    def case(self, request: pytest.FixtureRequest) -> CompressorCase:
        name, framework, kind = request.param
        row = TABLE[name]
        known: Any = digits if framework == "torch" else importlib.import_module(".keras_digits", __package__)
        return CompressorCase(
            compressor=registry.load("ml.compressors", name)(**row.options),
            model=known.trained(kind),
            task=known.task(data=(known.PICTURES[:800], known.DIGITS[:800])),
            evaluate=known.right,
            wrong=row.wrong,
            drop=0.06,
            **row.promises,
        )


@dataclass(frozen=True, kw_only=True)
class Broken:
    """Breaks one promise, the one it is named for."""

    promise: str = ""

    def __post_init__(self) -> None:
        if self.promise == "neither":
            raise ConfigError("no such promise")  # without a hint

    def compress(self, model: Any, task: Task) -> Any:
        framework = frameworks.of(model)
        found = model if self.promise == "copy" else framework.copy(model)
        weight = framework.weights(found)[0]
        if self.promise == "seed":
            weight.write(np.random.random(weight.shape))
        elif self.promise == "finite":
            weight.write(np.full(weight.shape, np.nan))
        elif self.promise != "smaller":
            weight.write(np.zeros(weight.shape) + (self.promise == "zeros"))
        return found


@pytest.mark.parametrize(
    ("promise", "test"),
    [
        ("neither", "options_that_make_no_sense_are_refused"),
        ("copy", "the_model_stays_as_it_was"),
        ("finite", "it_answers_in_the_same_shape"),
        ("seed", "the_same_seed_gives_the_same_answers"),
        ("metric", "the_metric_stays"),
        ("smaller", "it_is_smaller"),
        ("needs", "what_it_needs_is_asked_for"),
        ("zeros", "what_was_zero_stays_zero"),
    ],
)
def test_a_promise_that_is_broken_is_noticed(promise: str, test: str) -> None:
    model = frameworks.of(trained("mlp")).copy(trained("mlp"))
    case = CompressorCase(
        compressor=Broken(promise="" if promise == "neither" else promise),
        model=model,
        task=task(),
        evaluate=right,
        wrong=[{"promise": "neither"}],
        keeps_zeros=True,
    )
    with pytest.raises(AssertionError):
        getattr(CompressorContract(), f"test_{test}")(case)
    pruning = registry.load("ml.compressors", "pruning")(density=0.6, rounds=2)
    fine = replace(case, compressor=pruning, wrong=TABLE["pruning"].wrong, model=trained("mlp"))
    getattr(CompressorContract(), f"test_{test}")(fine)
