"""What a cell reads of its notebook: cases one by one, and generated code against what Python itself reads."""

from __future__ import annotations

import importlib
import math
import os.path
import sys
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from lepton_jupyter.data.names import Reads, read

NOTEBOOK = dict.fromkeys("abcdefgxyz", 1)


def values(code: str) -> list[str]:
    return list(read(code, NOTEBOOK).values)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("a", "a"),
        ("a = 1\na", ""),
        ("a = a", "a"),
        ("a += 1", "a"),
        ("a.attribute = 1", "a"),
        ("a[b] = c", "cab"),
        ("a: b = c", "cb"),
        ("a: b", "b"),
        ("del a\na", "a"),
        ("(a := b) + a", "b"),
        ("a, *b = c\na, b", "c"),
        ("f'{a!r:>{b}}'", "ab"),
        ("print(a, sep=b)", "ab"),
        ("assert a, b", "ab"),
        # comprehensions and lambdas have names of their own
        ("[a for a in b]", "b"),
        ("[a for a in b]\na", "ba"),
        ("[a for a in a]", "a"),
        ("[b for a in c if d]", "cdb"),
        ("[(x := a) for a in b]\nx", "bx"),
        ("{a: b for a, b in c}", "c"),
        ("lambda a, b=c: a + d", "cd"),
        ("g = lambda: a\na = 1\ng()", ""),
        ("g = lambda: a\ng()\na = 1", "a"),
        # functions read when they are called
        ("def f(a): return a + b", "b"),
        ("def f():\n    a = 1\n    return a", ""),
        ("def f():\n    return a\na = 1\nf()", ""),
        ("def f():\n    return a\nf()\na = 1", "a"),
        ("def f():\n    return g()\ndef g():\n    return a\nf()\na = 1", "a"),
        ("def f(x=a, *, y: b = c) -> d: ...", "acbd"),
        ("@a(b)\ndef f(): ...", "ab"),
        ("def f():\n    global a\n    a = 1", ""),
        ("def f():\n    global a\n    a += 1", "a"),
        ("def f():\n    def g():\n        nonlocal a\n        a = b\n    a = 1", "b"),
        ("def f():\n    b = [a for a in c]\n    return b", "c"),
        ("def f():\n    import a\n    with b as c: return a, c", "b"),
        ("async def f():\n    async for a in b:\n        await c", "bc"),
        ("def f():\n    x: a = 1\n    y = x", ""),
        # classes run at once, their methods do not
        ("class C(a, metaclass=b):\n    c: d = x", "abxd"),
        ("class C:\n    a = 1\n    b = a", ""),
        ("class C:\n    a = a", "a"),
        ("class C:\n    a = 1\n    def f(self): return a", "a"),
        ("class C:\n    def f(self): return a\na = 1\nC().f()", ""),
        ("class C:\n    def f(self): return a\nC().f()\na = 1", "a"),
        ("class C:\n    a = 1\n    b = [a for _ in x]", "xa"),
        # what may not have been bound counts as read
        ("if a: b = 1\nb", "ab"),
        ("if a: b = 1\nelse: b = 2\nb", "a"),
        ("if a: b = 1\nelse: raise c\nb", "ac"),
        ("for a in b: c = 1\na, c", "bac"),
        ("while a: b = 1\nb", "ab"),
        ("while True:\n    b = 1\n    if a: break\nb", "a"),
        ("for a in b:\n    pass\nelse:\n    c = 1\nc", "b"),
        ("for a in b:\n    break\nelse:\n    c = 1\nc", "bc"),
        ("try: a = 1\nexcept b as c: pass\na", "ba"),
        ("try: a = 1\nexcept b: raise\na", "b"),
        ("try: a = 1\nfinally: b = a\nb", "a"),
        ("with a as b: c = b\nc", "a"),
        ("with suppress(a): b = c\nb", "acb"),
        ("a and (b := 1)\nb", "ab"),
        ("c = (b := 1) if a else 2\nb", "ab"),
        ("match a:\n    case {'k': b, **c}: b, c\n    case [x, *y] if z: x, y\nb", "azb"),
        ("match a:\n    case b: pass\nb", "a"),
        ("match a:\n    case c.d(x=b): b", "ac"),
        ("raise a\nb", "a"),
        # imports bind
        ("import a, b.c, d as e\na, b, d, e", "d"),
        ("from a import b as c, d\na, b, c, d", "ab"),
        ("from math import *\npi, a", "a"),
        # IPython's syntax
        ("%time a + b", "ab"),
        ("%timeit -n 10 -r 3 f(a)", "fa"),
        ("%%time\nc = a\nc", "a"),
        ("%%capture out\nprint(a)", "a"),
        ("%matplotlib inline\na", "a"),
        ("!echo $a {b + c} $$d", "abc"),
        ("c = !ls {a}\nc", "a"),
        ("%env X={a}", "a"),
        ("%%bash\necho $a", ""),
        ("a?", "a"),
        ("a.b??", "a"),
        ("await a\nasync with b as c: c", "ab"),
        (">>> a\n... ", "a"),
        # what pandas reads
        ("a.query('x > @b and @c.d')", "abc"),
        # IPython's and Python's own
        ("print(_, __, _1, _i2, In, Out, get_ipython(), display(a), lepton, __name__)", "a"),
        ("", ""),
        ("# nothing", ""),
    ],
)  # fmt: skip
def test_values(code: str, expected: str) -> None:
    assert sorted(values(code)) == sorted(expected)
    assert len(values(code)) == len(set(values(code)))


@pytest.mark.parametrize(
    "code",
    [
        "a +",
        "def f(:",
        "\0",
        "a\0b",
        "'''a",
        "  a\n b\n\tc",
        "a = $",
        "%",
        "!",
        "?",
        "%%",
        "(" * 500 + ")" * 500,
        "a = '\\d'\n'\\p'",
        "return a",
        "break",
        "yield a",
        "class C: return a",
        "\udc80",
        "global a\ndel a",
    ],
)
def test_strange_code_raises_nothing_and_warns_of_nothing(code: str) -> None:
    assert isinstance(read(code, NOTEBOOK), Reads)


def test_a_cell_that_does_not_parse_reads_nothing() -> None:
    assert read("a; b +", NOTEBOOK) == Reads()


def test_nesting_beyond_reason_sends_every_name() -> None:
    assert values(" + ".join(["a"] * 1500 + ["b"])) in (["a", "b"], ["b", "a"])


def test_modules_come_apart_with_what_has_to_be_imported() -> None:
    import xml.etree.ElementTree

    namespace = {"m": math, "path": os.path, "xml": xml, "join": os.path.join, "sin": math.sin, "L": typing.Any}
    reads = read(
        "m.pi, path, xml.etree.ElementTree.parse, join, sin, L\nimport json.decoder\nfrom csv import reader", namespace
    )
    assert reads.modules == {
        "m": "math",
        "path": "os.path",
        "xml": "xml",
        "join": f"{os.path.__name__}:join",
        "sin": "math:sin",
        "L": "typing:Any",
    }
    assert {"math", "xml", "xml.etree", "xml.etree.ElementTree", "json.decoder", "csv", "typing"} <= set(reads.imports)
    assert reads.values == reads.definitions == reads.unknown == ()


def test_numpy_functions_are_imported() -> None:
    import numpy as np

    reads = read(
        "exp, mean, float32, np.linalg.norm", {"exp": np.exp, "mean": np.mean, "float32": np.float32, "np": np}
    )
    assert set(reads.modules) == {"exp", "mean", "float32", "np"}
    assert "numpy.linalg" in reads.imports


def test_what_a_library_has_by_that_name_is_imported() -> None:
    import numpy.typing
    import scipy.stats

    mine = scipy.stats.norm(0, 1)
    namespace = {"norm": scipy.stats.norm, "ArrayLike": numpy.typing.ArrayLike, "mine": mine, "other": scipy.stats.norm}
    reads = read("norm, ArrayLike, mine, other", namespace)
    assert reads.modules == {"norm": "scipy.stats:norm", "ArrayLike": "numpy.typing:ArrayLike"}
    assert reads.values == ("mine", "other")


def test_what_was_loaded_again_is_still_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lm_again.py").write_text("def f(): ...\nclass C: ...\nc = C()\nx = [1]")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("lm_again")
    namespace = {name: getattr(module, name) for name in ("f", "C", "c", "x")}
    importlib.reload(module)
    reads = read("f, C, c, x", namespace)
    assert reads.modules == {"f": "lm_again:f", "C": "lm_again:C"} and set(reads.values) == {"c", "x"}
    del sys.modules["lm_again"]


def test_definitions_of_the_notebook_come_apart_and_instances_are_values() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def f(): ...\nclass C: ...\nc = C()\nimport typing\nT = typing.TypeVar('T')\nalias = list[int]", namespace)
    reads = read("f, C, c, T, alias", namespace)
    assert set(reads.definitions) == {"f", "C", "T", "alias"}
    assert reads.values == ("c",)


def test_a_builtin_name_is_sent_only_where_the_notebook_has_its_own() -> None:
    assert read("sum(x)", {"x": [1]}).values == ("x",)
    assert read("sum(x)", {"x": [1], "sum": 3}).values == ("sum", "x")
    assert read("open(x), exit", {"x": "p", "open": open, "exit": sys.exit}).values == ("x",)
    assert read("x, nowhere", {"x": 1}).unknown == ("nowhere",)


def test_an_object_that_breaks_when_it_is_looked_at_is_a_value() -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    assert read("a", {"a": Broken()}).values == ("a",)


# Generated code: every name that Python really reads from the notebook is among those that the analysis names.

_NAMES = st.sampled_from("abcdef")


def _expression() -> st.SearchStrategy[str]:
    leaf = _NAMES | st.just("1")
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(lambda p: f"({p[0]} or {p[1]})"),
            st.tuples(inner, inner).map(lambda p: f"({p[0]}, {p[1]})"),
            st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
            st.tuples(_NAMES, inner).map(lambda p: f"({p[0]} := {p[1]})"),
            st.tuples(inner, _NAMES, inner).map(lambda p: f"[{p[0]} for {p[1]} in call({p[2]})]"),
            st.tuples(inner, _NAMES, inner).map(lambda p: f"list({p[0]} for {p[1]} in call({p[2]}))"),
            st.tuples(_NAMES, inner).map(lambda p: f"(lambda {p[0]}: {p[1]})"),
            _NAMES.map(lambda name: f"call({name})"),
        ),
        max_leaves=4,
    )


def _indent(lines: Iterable[str]) -> str:
    return "\n".join("    " + line for text in lines for line in text.splitlines())


def _statements(depth: int) -> st.SearchStrategy[list[str]]:
    expression = _expression()
    simple = st.one_of(
        st.tuples(_NAMES, expression).map(lambda p: f"{p[0]} = {p[1]}"),
        expression.map(lambda text: f"call({text})"),
        _NAMES.map(lambda name: f"del {name}"),
        st.tuples(_NAMES, expression).map(lambda p: f"{p[0]}: {p[1]} = 1"),
        st.tuples(_NAMES, expression).map(lambda p: f"{p[0]} = lambda: {p[1]}"),
        _NAMES.map(lambda name: f"import math as {name}"),
    )
    if not depth:
        return st.lists(simple, min_size=1, max_size=3)
    inner = _statements(depth - 1)
    compound = st.one_of(
        st.tuples(expression, inner, inner).map(lambda p: f"if {p[0]}:\n{_indent(p[1])}\nelse:\n{_indent(p[2])}"),
        st.tuples(_NAMES, expression, inner).map(lambda p: f"for {p[0]} in call({p[1]}):\n{_indent(p[2])}"),
        st.tuples(inner, st.booleans()).map(
            lambda p: f"while True:\n{_indent(p[0])}\n    if {'tick()' if p[1] else '1'}: break"
        ),
        st.tuples(inner, _NAMES, inner, inner).map(
            lambda p: f"try:\n{_indent(p[0])}\nexcept Exception as {p[1]}:\n{_indent(p[2])}\nfinally:\n{_indent(p[3])}"
        ),
        st.tuples(_NAMES, _NAMES, inner).map(lambda p: f"def {p[0]}({p[1]}=1):\n{_indent(p[2])}"),
        st.tuples(_NAMES, _NAMES, inner).map(lambda p: f"def {p[0]}():\n    global {p[1]}\n{_indent(p[2])}"),
        st.tuples(_NAMES, inner).map(lambda p: f"class {p[0]}:\n{_indent(p[1])}"),
        st.tuples(_NAMES, inner).map(lambda p: f"with there as {p[0]}:\n{_indent(p[1])}"),
    )
    return st.lists(simple | compound, min_size=1, max_size=4)


class _There:
    def __enter__(self) -> int:
        return 1

    def __exit__(self, *about: object) -> None:
        pass


class _First(int):
    """A value that the notebook has."""


class _Tracked(dict[str, Any]):
    """A namespace that notes which of its first values were read."""

    def __init__(self, names: str) -> None:
        self.first = {name: _First(1) for name in names}
        super().__init__(self.first)
        self.read = set[str]()

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if value is self.first.get(name):  # a name that the code has declared global is set behind our back
            self.read.add(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        self.first.pop(name, None)
        super().__setitem__(name, value)

    def __delitem__(self, name: str) -> None:
        if name in self.first:
            self.read.add(name)
        super().__delitem__(name)


def _really_read(code: str) -> set[str]:
    budget = [40]

    def call(value: Any) -> list[int]:
        budget[0] -= 1
        if budget[0] > 0 and callable(value):
            for arguments in ((), (1,)):
                try:
                    value(*arguments)
                except Exception:  # noqa: BLE001
                    continue
        return [1]

    namespace = _Tracked("abcdef")
    ours = {"call": call, "tick": lambda: budget[0] <= 0 or not budget.__setitem__(0, budget[0] - 9), "there": _There()}
    for name, value in ours.items():
        dict.__setitem__(namespace, name, value)
    try:
        exec(compile(code, "<cell>", "exec"), namespace)
    except Exception:  # noqa: BLE001
        pass  # what was read until then has to be known all the same
    return namespace.read


@settings(max_examples=150, deadline=None)
@given(_statements(2))
def test_all_that_python_reads_is_known(statements: list[str]) -> None:
    code = "\n".join(statements)
    try:
        compile(code, "<cell>", "exec")
    except SyntaxError:
        return
    reads = read(code, dict.fromkeys("abcdef", 1))
    assert _really_read(code) <= set(reads.values), code


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(_NAMES, st.lists(_NAMES, max_size=3)), min_size=1, max_size=6))
def test_straight_code_is_known_exactly(lines: list[tuple[str, list[str]]]) -> None:
    code = "\n".join(f"{target} = ({', '.join(parts)})" for target, parts in lines)
    assert _really_read(code) == set(read(code, dict.fromkeys("abcdef", 1)).values)
