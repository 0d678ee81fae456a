"""What may be tuned: spaces as they are written, and those that a cell's own numbers suggest."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml.tune import literals
from lepton_jupyter.ml.tune.space import Choice, Range, parse, words


def test_a_space_is_read_and_written_alike() -> None:
    texts = [
        "lr=log:1e-05..0.1",
        "hidden=log:16..512",
        "dropout=0..0.5",
        "layers=1..8/2",
        "act=relu|gelu|None|0.5|True",
    ]
    space = parse(texts)
    assert space == {
        "lr": Range(1e-5, 0.1, log=True),
        "hidden": Range(16, 512, log=True),
        "dropout": Range(0, 0.5),
        "layers": Range(1, 8, step=2),
        "act": Choice(("relu", "gelu", None, 0.5, True)),
    }
    assert [name for name, domain in space.items() if isinstance(domain, Range) and domain.whole] == [
        "hidden",
        "layers",
    ]
    assert parse(words(space).split("  ")) == space


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr", "a name, = and values are needed"),
        ("1r=0..1", "a name, = and values are needed"),
        ("lr=3", "that is one value"),
        ("lr=relu", "neither a range nor a choice"),
        ("lr=relu|", "that is one value"),
        ("lr=log:0..1", "begins above 0"),
        ("lr=1..0", "1 is not below 0"),
        ("lr=a..b", "'a' is no number"),
        ("lr=0..nan", "'nan' is no number"),
        ("lr=0..1/2", "the step 2 does not fit"),
        ("lr=log:1..8/2", "has no steps"),
    ],
)
def test_a_space_that_cannot_be_is_told_in_words(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse([text])
    assert text in caught.value.message
    assert "=log:" in caught.value.hint or "log:" in caught.value.hint


def test_a_name_is_said_once() -> None:
    with pytest.raises(ConfigError, match=r"lr twice: 0\.\.1 and 0\.\.2"):
        parse(["lr=0..1", "lr=0..2"])


def test_domains_know_their_values_and_their_grid() -> None:
    steps, choice = Range(1, 8, step=2), Choice((16, "a"))
    assert [value for value in range(10) if steps.has(value)] == [1, 3, 5, 7]
    assert steps.grid(5) == [1, 3, 5, 7]
    assert Range(0.001, 0.1, log=True).grid(3) == [0.001, 0.01, 0.1]
    assert Range(1, 3).grid(5) == [1, 2, 3]
    assert not Range(1, 3).has(2.0)
    assert not Range(1, 3).has(True)
    assert choice.has("a")
    assert not choice.has(16.0)


CELL = """
import torch
lr, hidden = 1e-3, 128
batch = 64
dropout: float = 0.1
weight_decay = 1e-4
layers = 2
epochs = 20
seed = 7
best = 0.0
total = 5
for step in range(3):
    total = total + step
name = "adam"
optimizer = make(lr=0.5)
"""


def test_numbers_of_a_cell_are_offered_with_ranges_around_them() -> None:
    assert words(literals.offered(literals.parsed(CELL))).split("  ") == [
        "lr=log:1e-05..0.1",
        "hidden=log:32..512",
        "batch=16|32|64|128|256",
        "dropout=0..0.5",
        "weight_decay=log:3.33e-06..0.003",
        "layers=1..4",
    ]


def test_values_take_the_place_of_numbers_and_lines_stay() -> None:
    tree = literals.replaced(CELL, {"lr": 0.5, "hidden": 7, "dropout": 0.25, "name": "sgd"})
    assert [each.lineno for each in ast.walk(tree) if isinstance(each, ast.stmt)] == [
        each.lineno for each in ast.walk(ast.parse(CELL)) if isinstance(each, ast.stmt)
    ]
    found = ast.unparse(tree)
    assert "lr, hidden = (0.5, 7)" in found
    assert "dropout: float = 0.25" in found
    assert "name = 'sgd'" in found
    assert "batch = 64" in found
    assert "make(lr=0.5)" in found


def test_what_the_cell_does_not_use_cannot_be_tuned() -> None:
    tree = literals.parsed(CELL + "print(rate)\n")
    literals.check(tree, parse(["rate=0..1", "lr=0..1"]))
    with pytest.raises(ConfigError, match="neither assigns nor reads hiden") as caught:
        literals.check(tree, parse(["hiden=0..1"]))
    assert "Did you mean hidden?" in caught.value.hint
    literals.check(literals.parsed("x = lepton.params['depth']"), parse(["depth=1..3"]))
    with pytest.raises(ConfigError, match="nothing to tune"):
        literals.check(literals.parsed("epochs = 3\nfit(0.1)"), {})


def test_a_cell_that_is_no_python_is_said() -> None:
    with pytest.raises(ConfigError, match=r"in line 2: y = = 2"):
        literals.parsed("x = 1\ny = = 2")
    with pytest.raises(ConfigError, match="'await' outside"):
        literals.parsed("await thing()")


def test_the_size_of_a_batch_is_found_or_asked_for() -> None:
    assert literals.batch_name(literals.parsed(CELL)) == ("batch", 64)
    assert literals.batch_name(literals.parsed("rows = 8\nbatch = 4"), ["rows=1..9"]) == ("rows", 8)
    with pytest.raises(ConfigError, match="several: batch, batch_size"):
        literals.batch_name(literals.parsed("batch = 8\nbatch_size = 4"))
    with pytest.raises(ConfigError, match="assigns none"):
        literals.batch_name(literals.parsed("x = 8"))


def test_spaces_are_read_without_optuna_or_a_framework() -> None:
    code = (
        "import json, sys; from lepton_jupyter.ml.tune import literals, space; "
        "print(json.dumps([each for each in ('optuna', 'numpy', 'torch', 'keras') if each in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
