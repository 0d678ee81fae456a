"""Values with a class of the user's own: taken apart and put together without running its code, by names he has."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

import pytest

from lepton_jupyter.data.values import Malformed, UnknownClass, Untransferable
from tests.unit.values._road import Road


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796 - an alias


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int
    y: list[int]


Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass(frozen=True)
class Settings:
    rate: float
    nested: dict[str, Any] = dataclasses.field(default_factory=dict)
    made: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        assert self.rate != 2, "an object is not made anew"


@dataclasses.dataclass
class Slotted:
    __slots__ = ("a", "b")
    a: int
    b: str


class Plain:
    def __init__(self, part: Any) -> None:
        self.part = part


class Strange:
    def __reduce__(self) -> Any:
        return os.getcwd, ()


def double(x: int) -> int:
    return 2 * x


@pytest.mark.parametrize("host", [True, False])
@pytest.mark.parametrize(
    "value",
    [
        Colour.RED, Colour.CRIMSON, Access.READ, Access.READ | Access.WRITE, Access(0), Level.LOW,
        Point(1, [2]), Pair(None, Point(0, [])), Settings(0.5, {"a": [1]}), Slotted(1, "b"), int, double,
    ],
    ids=lambda value: f"{type(value).__name__}-{value}".partition(" at ")[0],
)  # fmt: skip
def test_what_arrives_is_what_was_sent(road: Road, value: Any, host: bool) -> None:
    found = road.send(value, host)
    assert type(found) is type(value)
    assert found == value


def test_a_plain_object_is_its_attributes(road: Road) -> None:
    value = Plain({"x": 1})
    value.later = Colour.RED  # type: ignore[attr-defined]
    found = road.send(value)
    assert type(found) is Plain
    assert vars(found) == vars(value)


def test_a_partial(road: Road) -> None:
    assert road.send(functools.partial(double, 4))() == 8


def test_no_code_of_the_class_runs(road: Road) -> None:
    value = object.__new__(Settings)
    vars(value).update(rate=2, nested={}, made=0)
    assert road.send(value) == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda: 1, "no name to be found by"),
        ([].append, "a method of an object"),
        (Strange(), "Strange has no safe form"),
        ((n for n in ()), "generator has no safe form\nSend a list"),
        (sys, "module has no safe form\nImport it"),
        (tempfile.gettempdir, None),
    ],
    ids=lambda part: type(part).__name__,
)
def test_what_has_no_safe_form_is_refused_with_choices(road: Road, value: Any, words: str | None) -> None:
    if words is None:
        assert road.send(value, host=True) is value
        return
    with pytest.raises(Untransferable, match=words) as caught:
        road.encode({"config": [value]})
    assert "value['config'][0] cannot be sent" in caught.value.message
    assert caught.value.hint


def test_an_open_file_is_refused(road: Road, tmp_path: pathlib.Path) -> None:
    with open(tmp_path / "file", "w") as file, pytest.raises(Untransferable, match="Send its path"):
        road.encode(file)


# what a host may not do to a user


@pytest.mark.parametrize(
    "name",
    [("os", "system"), ("builtins", "eval"), ("builtins", "open"), ("subprocess", "Popen"), ("shutil", "rmtree"),
     ("tempfile", "TemporaryDirectory"), ("importlib", "import_module"), ("lepton_jupyter.blobs", "BlobStore")],
    ids=str,
)  # fmt: skip
def test_a_host_may_not_hand_over_functions_that_do_harm(road: Road, name: tuple[str, str]) -> None:
    for nodes in ([["reference", *name]], [["reference", *name], ["partial", [0], [], []]]):
        with pytest.raises((UnknownClass, Malformed)):
            road.receive(road.document(*nodes))


def test_a_host_may_not_make_objects_of_libraries(road: Road) -> None:
    for tag in ("object", "dataclass"):
        with pytest.raises(UnknownClass):
            road.receive(road.document([tag, "subprocess", "Popen", ["returncode"], [None]]))


def test_a_host_may_not_have_anything_imported(road: Road, tmp_path: pathlib.Path, monkeypatch: Any) -> None:
    (tmp_path / "planted.py").write_text("import pathlib\npathlib.Path(__file__).with_name('ran').touch()\nX = int\n")
    monkeypatch.syspath_prepend(tmp_path)
    for tag in ("reference", "object", "dataclass", "namedtuple", "enum"):
        body = {"reference": [], "enum": ["A", None]}.get(tag, [[], []])
        with pytest.raises(UnknownClass, match="planted"):
            road.receive(road.document([tag, "planted", "X", *body]))
    assert "planted" not in sys.modules
    assert not (tmp_path / "ran").exists()
    assert road.receive(road.document(["reference", "planted", "X"]), host=True) is int
    del sys.modules["planted"]


def test_no_descriptor_of_the_users_runs_while_a_name_is_looked_up(road: Road) -> None:
    with pytest.raises(UnknownClass):
        road.receive(road.document(["reference", __name__, "Slotted.a"]))
    with pytest.raises(UnknownClass):
        road.receive(road.document(["reference", __name__, "os.system"]))


def test_other_fields_are_an_error_and_not_an_object(road: Road) -> None:
    here = __name__
    for node in (
        ["namedtuple", here, "Point", ["x", "z"], [1, 2]],
        ["dataclass", here, "Slotted", ["a", "b", "c"], [1, 2, 3]],
        ["dataclass", here, "Plain", ["part"], [1]],
        ["dataclass", here, "Settings", ["made"], [1]],
        ["enum", here, "Colour", "BLUE", None],
        ["enum", here, "Colour", None, 7],
        ["object", here, "Colour", ["value"], [7]],
        ["object", "builtins", "list", [], []],
    ):
        with pytest.raises((UnknownClass, Malformed)):
            road.receive(road.document(node))


# pickle


def test_a_pickle_needs_the_word_of_both_ends(road: Road) -> None:
    value = {"fine": 1, "odd": [Strange()]}
    sent = road.encode(value, allow_pickle=True)
    assert [node[0] for node in sent.doc["nodes"]] == ["pickle", "list", "dict"]
    for host in (True, False):
        with pytest.raises(Untransferable, match="not opened"):
            road.receive(sent.doc, host)
    assert road.receive(sent.doc, allow_pickle=True) == {"fine": 1, "odd": [os.getcwd()]}


def test_a_pickle_holds_what_has_no_name(road: Road) -> None:
    found = road.receive(road.encode([1, lambda x: x + 1], allow_pickle=True).doc, allow_pickle=True)
    assert found[1](2) == 3


def test_what_pickle_refuses_is_refused(road: Road) -> None:
    with subprocess.Popen(["true"]) as process, pytest.raises(Untransferable, match="neither pickle nor cloudpickle"):
        road.encode([process], allow_pickle=True)
