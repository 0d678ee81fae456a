"""What `%lepton_compress` makes of its line: the cell that runs on the host, what goes there, and what it refuses."""

from __future__ import annotations

import argparse
import ast
import sys
from typing import Any

import pytest
from IPython.core.error import UsageError

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.kernel.compressing import _Bar, _looked_up, compressed
from lepton_jupyter.magics.compress import _PARSER, _brought, _name, code
from lepton_jupyter.outputs._readings import lines_of, read_line
from lepton_jupyter.remote.left import RemoteValue


def asked(line: str) -> argparse.Namespace:
    return _PARSER.parse_line(line)


def call(line: str) -> tuple[str, dict[str, Any], dict[str, str]]:
    """What the cell binds, the options it gives, and the Python it looks up."""
    given = asked(line)
    _, statement = ast.parse(code(given, _name(given))).body
    assert isinstance(statement, ast.Assign)
    assert isinstance(statement.value, ast.Call)
    looked_up, name, options = statement.value.args[0], statement.value.args[1], statement.value.keywords
    assert isinstance(looked_up, ast.Lambda)
    assert isinstance(looked_up.body, ast.Call)
    assert ast.unparse(statement.targets[0]) == f"({name.value}, {name.value}_report)"  # type: ignore[attr-defined]
    return (
        name.value,  # type: ignore[attr-defined]
        {str(each.arg): ast.literal_eval(each.value) for each in options if each.arg != "keep"},
        {str(each.arg): ast.unparse(each.value) for each in looked_up.body.keywords},
    )


def test_a_model_alone_is_searched_for_five_minutes() -> None:
    name, options, given = call("net")
    assert (name, given) == ("net_small", {"model": "net"})
    assert options == {"methods": "auto", "tolerance": 0.01, "budget": "5m", "seed": 0}


def test_every_flag_reaches_the_library() -> None:
    name, options, given = call(
        "nets['a'] --as tiny --methods prune(rounds=2),quantize --test t --trials 3 --evaluate m.right "
        "--data x,y --loss 'lambda m, *b: f(m, b)' "
        "--train fit --tolerance 0.02 --budget 90s --sparsity 0.9 --bits 4 --student teacher.child() "
        "--export onnx,pt2 --seed 7".replace("nets['a']", "\"nets['a']\"")
    )
    assert name == "tiny"
    assert options == {
        "methods": "prune(rounds=2),quantize", "tolerance": 0.02, "budget": "90s", "trials": 3, "sparsity": 0.9,
        "bits": 4, "seed": 7, "export": ("onnx", "pt2"),
    }  # fmt: skip
    assert given == {
        "model": "nets['a']", "data": "(x, y)", "loss": "lambda m, *b: f(m, b)", "train": "fit",
        "evaluate": "m.right", "test": "t", "student": "teacher.child()",
    }  # fmt: skip


def test_names_that_the_notebook_has_go_and_others_stay_there() -> None:
    handle = RemoteValue("big", "gpu1", "a Tensor", 1 << 40, "", lambda: None)
    namespace = {"net": 1, "x": 2, "big": handle, "extra": 3, "other": 4}
    line = "net --data x,y --student big --evaluate right"
    assert _brought(asked(line), namespace) == "net,x"
    assert _brought(asked(f"{line} --in auto,extra"), namespace) == "net,x,extra"
    assert _brought(asked(f"{line} --in none"), namespace) == "none"
    assert _brought(asked("there"), namespace) == "none"


@pytest.mark.parametrize(
    ("line", "words"),
    [("'a b'", "MODEL a b: that is no Python"), ("m --data (", r"--data \("), ("m --as 2x", "no name"),
     ("m --budget soon", "not a duration"), ("m --evaluate 'x = 1'", "--evaluate x = 1")],
)  # fmt: skip
def test_what_cannot_be_is_said_before_anything_is_sent(line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call(line)


@pytest.mark.parametrize("line", ["", "m --bits many", "m --tolerance", "m other", "m --quickly"])
def test_a_line_that_is_none_shows_the_usage(line: str) -> None:
    with pytest.raises(UsageError, match="%lepton_compress"):
        asked(line)


def test_a_name_that_nobody_has_is_named_with_what_it_looks_like() -> None:
    namespace: dict[str, Any] = {"model": 1, "data": 2}
    given = eval("lambda: dict(model=modle)", namespace)
    with pytest.raises(ConfigError, match=r"no 'modle'.*\n.*Did you mean model\?"):
        _looked_up(given)


def test_an_old_python_is_said_before_anything_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(ConfigError, match=r"needs Python 3.10 or newer, and this kernel has 3.9"):
        compressed(lambda: pytest.fail("too early"), "small", keep=lambda path, name: None)


def test_the_bar_is_read_as_progress(capsys: pytest.CaptureFixture[str]) -> None:
    bar = _Bar()
    bar(0.25, "trial 3: accuracy 0.97")
    bar(0.26, "too soon to be drawn")
    bar(1.0, "done")
    bar.close()
    first, last = lines_of(capsys.readouterr().err)
    reading = read_line(first)
    assert reading.step is not None
    assert (reading.step.done, reading.step.total, reading.metrics) == (25, 100, {"accuracy": 0.97})
    assert last.startswith(f"compress {'━' * 24} 100 %  done")
