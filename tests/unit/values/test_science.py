"""Sparse matrices, images, figures and estimators: exact where they are data, honest where they are not."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
import scipy.sparse
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from lepton_jupyter.data import values
from lepton_jupyter.data.values import Malformed, Untransferable
from lepton_jupyter.errors import LeptonError
from tests.unit.values._road import Road


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "dia", "lil", "dok"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_sparse(road: Road, form: str, kind: str) -> None:
    matrix = getattr(scipy.sparse, f"{form}_{kind}")(np.array([[0, 1.5, 0], [2, 0, 0]], np.float32))
    found = road.send(matrix)
    assert (type(found), found.dtype, found.shape) == (type(matrix), matrix.dtype, matrix.shape)
    assert np.array_equal(found.toarray(), matrix.toarray())
    assert values.describe(matrix) == f"sparse float32 {form} (2, 3), 2 stored"


def test_sparse_of_one_dimension(road: Road) -> None:
    assert road.send(scipy.sparse.coo_array(np.array([0, 1]))).shape == (2,)


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("lie", [[9, 9, 9], [-1, 0, 1], [1 << 40, 0, 0]])
def test_indices_beyond_the_matrix_are_refused(road: Road, part: int, lie: list[int]) -> None:
    doc = road.encode(scipy.sparse.csr_array(np.eye(3))).doc
    node = doc["nodes"][-1]
    wrong = road.encode(np.array(lie)).doc["nodes"][0]
    doc["nodes"].insert(0, wrong)
    node[5] = [[item[0] + 1] for item in node[5]]
    node[5][part] = [0]
    doc["root"] = [len(doc["nodes"]) - 1]
    if part:
        with pytest.raises(Malformed):
            road.receive(doc)
    else:
        assert road.receive(doc).data.tolist() == lie


MODES = [
    "1",
    "L",
    "P",
    "LA",
    "PA",
    "La",
    "RGB",
    "RGBA",
    "RGBX",
    "RGBa",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I",
    "F",
    "I;16",
]


@pytest.mark.parametrize("mode", MODES)
def test_an_image(road: Road, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image = image.convert(mode) if mode not in ("PA", "La", "LAB", "I;16") else Image.new(mode, (9, 7))
    image.info = {"dpi": (72, 72), "exif": b"x", "odd": object()}
    found = road.send(image)
    assert (type(found), found.mode, found.size) == (Image.Image, image.mode, image.size)
    assert found.tobytes() == image.tobytes()
    assert found.getpalette() == image.getpalette()
    assert found.info == {"dpi": (72, 72), "exif": b"x"}


def test_an_image_from_a_file(road: Road) -> None:
    file = io.BytesIO()
    Image.new("P", (5, 5), 3).save(file, "gif", transparency=3)
    opened = Image.open(file)
    assert road.send(opened).convert("RGBA").tobytes() == opened.convert("RGBA").tobytes()
    file = io.BytesIO()
    frames = [Image.new("L", (5, 5), colour) for colour in (0, 200)]
    frames[0].save(file, "gif", save_all=True, append_images=frames[1:])
    with pytest.raises(Untransferable, match="several frames"):
        road.encode(Image.open(file))


@pytest.mark.parametrize(
    "change",
    [{1: "XYZ"}, {2: [1 << 30, 1 << 30]}, {2: [-1, -1]}, {2: [3]}, {2: [2.0, 2]}, {3: ""}, {3: None}, {4: ["RGB"]},
     {4: ["EVIL", "AAAA"]}, {5: [["a"], [[7]]]}, {2: [0, 1 << 40], 3: ""}],
    ids=str,
)  # fmt: skip
def test_an_image_that_lies_is_refused(road: Road, change: dict[int, Any]) -> None:
    node = road.encode(Image.new("L", (2, 2))).doc["nodes"][-1]
    assert road.receive(road.document(node)).size == (2, 2)
    for place, item in change.items():
        node[place] = item
    with pytest.raises(LeptonError):
        road.receive(road.document(node))


def test_a_figure_arrives_as_a_picture(road: Road, tmp_path: Any) -> None:
    figure = matplotlib.figure.Figure((4, 3))
    figure.subplots().plot([1, 2])
    assert values.describe(figure) == "figure of 1 axes, as a picture"
    assert road.encode(figure).doc == road.encode(figure).doc
    found = road.send(figure)
    shown, about = found._repr_mimebundle_()
    assert Image.open(io.BytesIO(base64.b64decode(shown["image/png"]))).size == (400, 300)
    assert "image/svg+xml" not in shown
    assert about["image/png"]["width"] == 400
    found.save(tmp_path / "x.svg")
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")
    with pytest.raises(AttributeError, match="travels as a picture"):
        found.axes  # noqa: B018
    with pytest.raises(Untransferable, match="Send the figure"):
        road.encode(figure.axes[0])


class Times(TransformerMixin, BaseEstimator):
    def __init__(self, factor: int = 1) -> None:
        self.factor = factor

    def fit(self, x: Any, y: Any = None) -> Any:
        self.fitted_ = True
        return self

    def transform(self, x: Any) -> Any:
        return x * self.factor


def plus_one(x: Any) -> Any:
    return x + 1


rng = np.random.default_rng(0)
X = rng.random((50, 4))
Y = (X[:, 0] > 0.5).astype(int)


@pytest.mark.parametrize("host", [True, False])
@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(Times(2), LogisticRegression()),
        make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()),
        make_pipeline(FunctionTransformer(plus_one), LogisticRegression()),
        make_pipeline(StandardScaler(), RandomForestClassifier(5)), GradientBoostingClassifier(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3), GridSearchCV(LogisticRegression(), {"C": [1, 2]}),
    ],
    ids=lambda value: "host" if value is True else "notebook" if value is False else "-".join(
        type(step).__name__ for _, step in getattr(value, "steps", [("", value)])
    ),
)  # fmt: skip
def test_an_estimator(road: Road, estimator: Any, host: bool) -> None:
    estimator.fit(X, Y)
    found = road.send(estimator, host)
    assert type(found) is type(estimator)
    assert np.array_equal(found.predict(X), estimator.predict(X))
    assert values.describe(estimator)


# what a host may not do to a user


def _rewritten(road: Road, estimator: Any, change: Any) -> dict[str, Any]:
    """The document of an estimator after `change` had the members of its archive."""
    doc = road.encode(estimator).doc
    leaf = doc["nodes"][0][1]
    data = Path(road.store.path(leaf[0])).read_bytes() if isinstance(leaf, list) else base64.b64decode(leaf)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        for name, part in members.items():
            file.writestr(name, part)
    doc["nodes"][0][1] = [road.store.put(sink.getvalue()), len(sink.getvalue())]
    return doc


@pytest.mark.parametrize(
    "lie",
    [
        {"__module__": "subprocess", "__class__": "Popen"},
        {"__module__": "os", "__class__": "system", "__loader__": "FunctionNode", "content": "system"},
        {"__module__": "builtins", "__class__": "eval", "__loader__": "TypeNode"},
        {"__module__": "sklearn.utils._testing", "__class__": "TempMemmap"},
        {"__module__": "planted", "__class__": "X"},
    ],
    ids=lambda lie: lie["__class__"],
)
def test_an_estimator_may_not_name_anything_else(road: Road, lie: dict[str, str]) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["schema.json"] = json.dumps({**json.loads(members["schema.json"]), **lie}).encode()

    with pytest.raises(LeptonError):
        road.receive(_rewritten(road, LogisticRegression(), change))


def test_an_archive_that_is_a_bomb_is_refused(road: Road) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("schema.json", b" " * 50_000_000)
    with pytest.raises(Malformed, match="bomb"):
        road.receive(road.document(["sklearn.estimator", [road.store.put(sink.getvalue()), len(sink.getvalue())]]))


def test_an_array_that_lies_is_refused(road: Road) -> None:
    def change(members: dict[str, bytes]) -> None:
        for name in members:
            members[name] = members[name].replace(b"'shape': (1, 4)", b"'shape': (9, 9)")

    with pytest.raises(Malformed, match="not what its header says"):
        road.receive(_rewritten(road, LogisticRegression().fit(X, Y), change))


@pytest.mark.parametrize("field", ["left_child", "right_child", "feature"])
@pytest.mark.parametrize("lie", [1 << 40, 0, -7])
def test_a_tree_that_leads_elsewhere_is_refused(road: Road, field: str, lie: int) -> None:
    if (field, lie) == ("feature", 0):
        lie = 4  # the data have four

    def change(members: dict[str, bytes]) -> None:
        for name, part in members.items():
            if name.endswith(".npy") and b"left_child" in part:
                array = np.load(io.BytesIO(part))
                array[field][0] = lie
                sink = io.BytesIO()
                np.save(sink, array)
                members[name] = sink.getvalue()

    doc = _rewritten(road, RandomForestClassifier(2, random_state=0).fit(X, Y), change)
    with pytest.raises(Malformed, match="a decision tree that"):
        road.receive(doc)
