# ruff: noqa: E501 - cells in one line
"""Definitions of a notebook, captured from IPython's shell and restored in another namespace."""

from __future__ import annotations

import inspect
import json
import re
import traceback
from typing import Any

import pytest

from lepton_jupyter.data import _classes, names
from lepton_jupyter.data.source import Captured, capture, restore
from lepton_jupyter.errors import LeptonError
from tests.fakes.cells import Cells


def send(cells: Cells, *asked: str) -> Captured:
    """Capture, go through JSON, set the values, restore."""
    captured = capture(asked, cells.namespace)
    doc = json.loads(json.dumps(captured.doc))
    for name in captured.values:
        if type(cells.namespace[name]).__module__ == "builtins":
            cells.host[name] = cells.namespace[name]
    restore(doc, cells.host)
    return captured


def test_a_function_travels_with_all_that_it_needs(cells: Cells) -> None:
    cells.run("import math as m\nfrom math import sqrt\nscale = 3")
    cells.run("def area(r): return scale * m.pi * square(r)")
    cells.run("def square(x):\n    return sqrt(x) ** 4")
    captured = send(cells, "area")
    assert set(captured.definitions) == {"area", "square"}
    assert captured.values == ("scale",)
    assert "math" in captured.imports
    assert cells.host["area"](2) == pytest.approx(cells.namespace["area"](2))
    assert cells.host["area"].__globals__ is cells.host


def test_functions_that_call_one_another(cells: Cells) -> None:
    cells.run("def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)")
    assert set(send(cells, "even").definitions) == {"even", "odd"}
    assert cells.host["even"](10)


@pytest.mark.parametrize(
    ("cell", "use"),
    [
        ("f = lambda x: x + 1", "f(1)"),
        ("f = (\n    lambda x:\n    x + 1)", "f(1)"),
        ("f, g = lambda x: x + 1, lambda x: x + 2", "(f(1), g(1))"),
        ("def f(x, *, y=2): return x + y", "f(1)"),
        ("f = 1; g = lambda: 5; h = 3", "g()"),
        ("if True:\n    def f():\n        '''A\nB'''\n        return 1", "(f(), f.__doc__)"),
        ("%%time\ndef f(x): return x + 1", "f(1)"),
        ("%time f = lambda: 1\ndef g(): return 2", "g()"),
        ("import functools\n@functools.lru_cache(maxsize=None)\ndef f(x): return x", "f(3)"),
        ("import functools\n@functools.wraps(len)\ndef f(x): return x", "f(3)"),
        ("import contextlib\n@contextlib.contextmanager\ndef f(): yield 3", "f().__enter__()"),
        ("def f(): return 1\ng = f\n", "g()"),
        ("def f(): return 1\ng = f\ndel f", "g()"),
        ("async def f(): return 1", "f().close()"),
        ("def f(*a, k='ü', **q):\n    # ünïcode\n    return a, k, q", "f(1, z=2)"),
        ("class C:\n    def f(self): return 1", "C().f()"),
        ("class C:\n    x = 3\n    class D:\n        y = 4\n", "(C.x, C.D.y)"),
        ("class C:\n    class D:\n        y = 4\nE = C.D", "E.y"),
        ("from dataclasses import dataclass, field\n@dataclass\nclass C:\n    x: int = 3\n    y: list = field(default_factory=list)", "repr(C())"),
        ("import enum\nclass E(enum.Enum):\n    A = 1", "E.A.value"),
        ("from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n    y: int = 2", "tuple(P(1))"),
        ("from collections import namedtuple\nP = namedtuple('P', 'x y')", "tuple(P(1, 2))"),
        ("from typing import TypeVar\nT = TypeVar('T', int, str)\ndef f(x: T) -> T: return x", "(f(1), T.__name__)"),
        ("V = list[int]\ndef f(x: V): return x", "f([1])"),
        ("from __future__ import annotations\ndef f(x: Nowhere) -> Nothing: return 1", "(f(1), f.__annotations__)"),
        ("class A:\n    @staticmethod\n    def s(): return 1\n    @property\n    def p(self): return 2", "(A.s(), A().p)"),
        ("class A:\n    def __init__(self): self.x = 1\nclass B(A):\n    def __init__(self): super().__init__()", "B().x"),
        ("def deco(f):\n    def inner(*a): return f(*a) + 1\n    return inner\n@deco\ndef f(x): return x", "f(1)"),
        ("def deco(n):\n    def outer(f):\n        return lambda x: f(x) * n\n    return outer\n@deco(n=3)\ndef f(x): return x", "f(2)"),
        ("\n\n\ndef f(): return 1 # \x0c\n\ndef g(): return 2", "g()"),
    ],
)  # fmt: skip
def test_it_does_there_what_it_does_here(cells: Cells, cell: str, use: str) -> None:
    cells.run(cell)
    send(cells, *(name for name in re.findall(r"\b[a-zA-Z]\b", use) if name in cells.namespace))
    assert eval(use, cells.host) == eval(use, cells.namespace)


def test_bases_decorators_and_defaults_come_first(cells: Cells) -> None:
    cells.run("class Derived(dict): ...")
    cells.run("class Base:\n    limit = 3")
    cells.run("def mark(cls):\n    cls.marked = helper()\n    return cls\ndef helper(): return 'yes'")
    cells.run("@mark\nclass Derived(Base):\n    def f(self, x=Base.limit): return x")
    captured = send(cells, "Derived")
    order = list(captured.definitions)
    assert order.index("Base") < order.index("Derived") and order.index("helper") < order.index("Derived")
    assert cells.host["Derived"]().f() == 3
    assert cells.host["Derived"].marked == "yes"


def test_an_instance_brings_its_class(cells: Cells) -> None:
    cells.run(
        "class Layer: ...\nclass Net:\n    def __init__(self): self.layers = {'a': [Layer()]}\nnet = Net()\nnets = [(net,)]"
    )
    captured = capture(["nets"], cells.namespace)
    assert captured.values == ("nets",) and set(captured.doc["holds"]["nets"]) == {"Layer", "Net"}
    assert set(captured.definitions) == {"Layer", "Net"}


def test_functions_and_classes_in_containers_come_along(cells: Cells) -> None:
    cells.run("def relu(x): return x\nclass Net: ...\ntable = {'relu': relu, 'net': [Net], 'anonymous': lambda: 1}")
    captured = capture(["table"], cells.namespace)
    assert captured.values == ("table",) and set(captured.definitions) == {"relu", "Net"}


def test_methods_are_values_unless_they_are_of_a_class(cells: Cells) -> None:
    cells.run(
        "class T:\n    n = 3\n    def step(self): return 1\n    @classmethod\n    def make(cls): return cls.n\n"
        "bound, plain, of_class = T().step, T.step, T.make"
    )
    assert capture(["bound"], cells.namespace).values == ("bound",)
    send(cells, "plain", "of_class")
    assert cells.host["of_class"]() == 3 and cells.host["plain"](None) == 1
    cells.run("class T: ...")
    assert "plain cannot be sent" in refused(cells, "plain")


def test_classes_in_slots_and_nested_ones_are_found(cells: Cells) -> None:
    cells.run("class A:\n    __slots__ = ('x', 'y')\nclass B:\n    class C: ...\na = A()\na.x = B.C()")
    assert set(capture(["a"], cells.namespace).definitions) == {"A", "B"}


def test_a_module_class_of_torch_travels_by_source(cells: Cells) -> None:
    pytest.importorskip("torch")
    cells.run("import torch\nfrom torch import nn\nwidth = 4")
    cells.run(
        "class Net(nn.Module):\n    def __init__(self, n=width):\n        super().__init__()\n"
        "        self.line = nn.Linear(n, 1)\n    def forward(self, x): return torch.relu(self.line(x))"
    )
    captured = send(cells, "Net")
    assert captured.values == ("width",)
    assert {"torch", "torch.nn"} <= set(captured.imports)
    assert sum(p.numel() for p in cells.host["Net"]().parameters()) == 5


def test_an_unchanged_definition_is_not_run_again(cells: Cells) -> None:
    cells.run("class C: ...\nclass D(C): ...\ndef f(): return 1")
    send(cells, "D", "f")
    kept, function = cells.host["D"](), cells.host["f"]
    cells.run("# a line more\n\nclass C: ...\nclass D(C): ...\ndef f(): return 2")
    send(cells, "D", "f")
    assert isinstance(kept, cells.host["D"])
    assert cells.host["f"] is not function and cells.host["f"]() == 2


def test_a_changed_base_makes_its_heirs_anew(cells: Cells) -> None:
    cells.run("class C: x = 1\nclass D(C): ...")
    send(cells, "D")
    cells.run("class C: x = 2\nclass D(C): ...")
    send(cells, "D")
    assert cells.host["D"].x == 2


def test_a_changed_default_makes_the_function_anew(cells: Cells) -> None:
    cells.run("n = 10**6\ndef f(x=n): return x")
    send(cells, "f")
    cells.run("n = 10**7\ndef f(x=n): return x")
    send(cells, "f")
    assert cells.host["f"]() == 10**7


def test_a_value_that_is_needed_at_once_is_asked_for_in_time(cells: Cells) -> None:
    cells.run("class Config: ...\nconfig = Config()\ndef f(c=config): return c")
    captured = capture(["f"], cells.namespace)
    assert captured.values == ("config",)

    def want(name: str) -> None:
        cells.host[name] = cells.host["Config"]()

    both = capture(["Config", "f"], cells.namespace)
    assert both.definitions == captured.definitions == ("Config", "f")
    assert restore(captured.doc, cells.host, want) == ["Config", "f"]
    assert cells.host["f"]() is cells.host["config"]


def test_what_a_decorator_reads_is_there_in_time(cells: Cells) -> None:
    cells.run("table = {}\ndef register(f):\n    table[f.__name__] = 1\n    return f\n@register\ndef f(): return table")
    captured = capture(["f"], cells.namespace)
    restore(captured.doc, cells.host, lambda name: cells.host.setdefault(name, {}))
    assert cells.host["f"]() == {"f": 1}


def test_attributes_of_a_package_are_imported_there(cells: Cells) -> None:
    cells.run("import xml.dom.minidom")
    reads = names.read("xml.dom.minidom.parse", cells.namespace)
    assert "xml.dom.minidom" in capture(reads.names, cells.namespace, reads.dotted).doc["modules"]


def test_tracebacks_show_the_lines_of_the_cell_and_source_can_be_asked_for(cells: Cells) -> None:
    cells.run("# one\n# two\ndef fails(x):\n    y = x\n    return 1 / y\n")
    send(cells, "fails")
    with pytest.raises(ZeroDivisionError) as raised:
        cells.host["fails"](0)
    text = "".join(traceback.format_exception(raised.value))
    assert "return 1 / y" in text and "line 5" in text and "fails of cell" in text
    assert inspect.getsource(cells.host["fails"]) == "def fails(x):\n    y = x\n    return 1 / y\n"


def test_names_of_the_host_are_not_overwritten_by_the_way(cells: Cells) -> None:
    cells.run("def f(): return 1\ng = f\ndef f(): return 2")
    cells.host["f"] = "the host's"
    send(cells, "g")
    assert cells.host["f"] == "the host's" and cells.host["g"]() == 1


def refused(cells: Cells, name: str) -> str:
    with pytest.raises(LeptonError) as raised:
        capture([name], cells.namespace)
    assert raised.value.hint
    return raised.value.message


def test_what_has_no_source_is_refused_with_choices(cells: Cells) -> None:
    cells.run("exec('def f(): return 1')\nC = type('C', (), {})\nD = [C][0]\ndel C")
    assert "f cannot be sent: the source" in refused(cells, "f")
    cells.run("make = {'k': lambda: 1}\ng = make['k']")
    assert capture(["g"], cells.namespace).definitions == ("g",)


def test_what_keeps_variables_of_its_maker_is_refused(cells: Cells) -> None:
    cells.run("def make(n):\n    def add(x): return x + n\n    return add\nadd5 = make(5)")
    message = refused(cells, "add5")
    assert "make()" in message and "keeps n" in message
    cells.run("def make_class(n):\n    class C:\n        y = n\n    return C\nclass Other: ...")
    cells.namespace["C5"] = cells.namespace["make_class"](5)
    assert "make_class()" in refused(cells, "C5")


def test_what_was_wrapped_later_is_refused(cells: Cells) -> None:
    cells.run("import functools\ndef f(x): return x\nf = functools.lru_cache(f)")
    assert "wrapped after it was defined" in refused(cells, "f")


@pytest.mark.parametrize(
    ("codes", "name", "of"),
    [
        (["class B: x = 1", "class D(B): ...", "class B: x = 2"], "D", "B"),
        (["n = 1", "def f(x=n): return x", "n = 2"], "f", "n"),
        (["n = [1]", "f = lambda *, x=n: x", "n = [1]"], "f", "n"),
        (["class C:\n    def f(self): return 1", "c = C()", "class C:\n    def f(self): return 2"], "c", "C"),
    ],
)
def test_what_was_made_from_an_earlier_version_is_refused(cells: Cells, codes: list[str], name: str, of: str) -> None:
    for code in codes:
        cells.run(code)
    assert f"when {of} was another one" in refused(cells, name)


def test_a_cell_that_was_run_again_unchanged_is_no_earlier_version(cells: Cells) -> None:
    for code in ["class B: x = 1", "class D(B): ...", "d = D()", "class B: x = 1", "class D(B): ...", "class B: x = 1"]:
        cells.run(code)
    assert set(capture(["D", "d"], cells.namespace).definitions) == {"B", "D"}


def test_what_is_too_large_to_be_searched_for_classes_is_said(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    cells.run("class Late: pass\nmany = [[n] for n in range(50)] + [Late()]")
    assert capture(["many"], cells.namespace).definitions == ("Late",)
    assert not capture(["many"], cells.namespace).notes
    monkeypatch.setattr(_classes, "MOST", 40)
    captured = capture(["many"], cells.namespace)
    assert captured.definitions == ()
    (note,) = captured.notes
    assert "objects of many" in note and "--in" in note


def test_definitions_in_a_circle_are_refused(cells: Cells) -> None:
    cells.run("class A: ...\nclass B(A): ...\nclass A(B): ...")
    assert refused(cells, "A")


def test_missing_modules_are_all_named_before_anything_runs(cells: Cells) -> None:
    doc: dict[str, Any] = {
        "modules": ["no_such_module", "json"],
        "names": {"cv2": "cv2_missing:imread", "q": "sklearn_missing.svm"},
        "definitions": [{"name": "f", "made": "f", "text": "f = 1/0", "line": 1, "cell": 1, "future": False}],
    }
    with pytest.raises(LeptonError) as raised:
        restore(doc, cells.host)
    assert "no_such_module" in raised.value.message and "cv2_missing" in raised.value.message
    assert "pip install" in raised.value.hint and "no_such_module" in raised.value.hint


def test_another_version_of_a_module_is_named(cells: Cells) -> None:
    with pytest.raises(LeptonError, match="json on this host has no newer"):
        restore({"names": {"newer": "json:newer"}}, cells.host)


def test_a_definition_that_fails_there_says_which_and_why(cells: Cells) -> None:
    cells.run("import os\nclass C:\n    x = os.environ.get('X')\n    y = 1")
    captured = capture(["C"], cells.namespace)
    captured.doc["definitions"][0]["text"] = "class C:\n    x = missing\n"
    with pytest.raises(LeptonError, match="C, from cell 1, cannot be defined on this host: NameError"):
        restore(captured.doc, cells.host)


def test_an_alias_is_refreshed_each_time(cells: Cells) -> None:
    cells.run("from math import pi as constant, sin\nimport os.path as p")
    send(cells, "sin", "p")
    cells.host["sin"] = None
    send(cells, "sin")
    assert cells.host["sin"](0) == 0
    assert restore({}, cells.host) == []


def test_a_script_has_no_cells_and_travels_too(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text("def f(): return g()\ndef g(): return 3\nclass C:\n    x: int = 1\n")
    namespace: dict[str, Any] = {"__name__": "__main__", "__file__": str(script)}
    exec(compile(script.read_text(), str(script), "exec"), namespace)
    host: dict[str, Any] = {"__name__": "__main__"}
    restore(capture(["f", "C"], namespace).doc, host)
    assert host["f"]() == 3 and host["C"].x == 1
