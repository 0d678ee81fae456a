"""Decision trees that a host sent: every index in them is checked before the user predicts with one. User's side.

scikit-learn walks its trees without looking, so a tree whose nodes point anywhere would read any memory or never end.
"""

from __future__ import annotations

from typing import Any

from ...errors import Malformed
from .codec import library

#: Modules whose estimators walk the trees of their parts without asking those.
_ENSEMBLES = ("sklearn.ensemble._forest", "sklearn.ensemble._gb")


def check(estimator: Any) -> None:
    """Raise Malformed if any tree in an estimator leads beyond its nodes, in a circle, or beyond the features."""
    array = library("numpy").ndarray
    waiting: list[tuple[Any, int, bool]] = [(estimator, 0, False)]
    seen = set()
    while waiting:
        part, width, bound = waiting.pop()
        if id(part) in seen and not bound:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            inner = list(part.values())
        elif isinstance(part, (list, tuple)):
            inner = list(part)
        elif isinstance(part, array):
            inner = part.ravel().tolist() if part.dtype.hasobject and not part.dtype.names else []
        else:
            _check_one(part, width)
            inner = list(vars(part).values()) if hasattr(part, "__dict__") else []
            own = inner and vars(part).get("n_features_in_")
            if type(own) is int:
                width = min(own, width) if bound else own
            bound = type(part).__module__ in _ENSEMBLES
        waiting.extend((each, width, bound) for each in inner)


def _check_one(part: Any, width: int) -> None:
    kind = type(part).__name__
    if kind == "Tree":
        left, right, feature = part.children_left, part.children_right, part.feature
        _check_nodes(left, right, feature, left != -1, width)
    elif kind == "TreePredictor":
        nodes = part.nodes
        inner = nodes["is_leaf"] == 0
        _check_nodes(nodes["left"], nodes["right"], nodes["feature_idx"], inner, width)
        categorical = nodes["bitset_idx"][nodes["is_categorical"] != 0]
        if (categorical >= min(len(part.raw_left_cat_bitsets), len(part.binned_left_cat_bitsets))).any():
            raise Malformed("a decision tree with a category beyond its own")


def _check_nodes(left: Any, right: Any, feature: Any, inner: Any, width: int) -> None:
    numpy = library("numpy")
    places = numpy.arange(len(left))[inner]
    for child in (left[inner].astype("i8"), right[inner].astype("i8")):
        if (child <= places).any() or (child >= len(left)).any():
            raise Malformed("a decision tree that leads nowhere")
    chosen = feature[inner].astype("i8")
    if (chosen < 0).any() or (chosen >= width).any():
        raise Malformed("a decision tree that looks beyond its features")
