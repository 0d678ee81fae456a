"""Which codec a value or a document asks for. Both ends.

Codecs of one library stand together in a module with a tuple `CODECS`, its family, which is loaded when a value of that
library is met or a document names it; no library is imported for a user who does not use it. A foreign package adds a
family by an entry point in the group ``lepton_jupyter.codecs``, named like the top-level package of its types:
docs/adding-a-codec.md.
"""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import entry_points
from typing import Any

from ...errors import Malformed, Untransferable
from .codec import Codec, Exact

#: Families that come with us: the library whose types they know -> their module beside this one.
FAMILIES = {
    "keras": "of_keras",
    "lepton_jupyter": "of_compressed",
    "matplotlib": "of_matplotlib",
    "numpy": "of_numpy",
    "pandas": "of_pandas",
    "PIL": "of_pil",
    "polars": "of_arrow",
    "pyarrow": "of_arrow",
    "pytz": "of_pytz",
    "scipy": "of_scipy",
    "sklearn": "of_sklearn",
    "tensorflow": "of_tensorflow",
    "torch": "of_torch",
}
#: Families for values of no library: those of exact types, asked first; whatever has a class of its own, asked last.
PLAIN, OWN = ("plain", "standard"), ("objects", "pickles")


def find(value: Any) -> Codec:
    """The codec for a value; that of pickles when nothing else takes it.

    Imports no library: its types are known by the names of their modules.
    """
    plain = _plain().get(type(value))
    if plain is not None:
        return plain
    seen = set()
    for cls in type(value).__mro__:
        package = cls.__module__.partition(".")[0]
        if package not in seen:
            seen.add(package)
            for codec in _family(package):
                if codec.accepts(value):
                    return codec
    return next(codec for name in OWN for codec in _codecs(name) if codec.accepts(value))


def by_tag(tag: str) -> Codec:
    """The codec a document names. Loads one of our families or an installed plug-in's, never a module of that name.

    Raises Malformed when there is none.
    """
    package = tag.partition(".")[0]
    codecs = _family(package) if "." in tag else tuple(c for name in PLAIN + OWN for c in _codecs(name))
    for codec in codecs:
        if codec.tag == tag:
            return codec
    hint = f"Does it need a plug-in for {package!r} that only the other end has?" if "." in tag else ""
    raise Malformed(f"a value of the unknown kind {tag!r:.60}", hint=hint)


def _family(package: str) -> tuple[Codec, ...]:
    return _plug_in(package) + (_codecs(FAMILIES[package]) if package in FAMILIES else ())


@functools.cache
def _plain() -> dict[type, Codec]:
    return {codec.kind: codec for name in PLAIN for codec in _codecs(name) if isinstance(codec, Exact)}


@functools.cache
def _codecs(module: str) -> tuple[Codec, ...]:
    codecs: tuple[Codec, ...] = importlib.import_module(f"{__package__}.{module}").CODECS
    return codecs


@functools.cache
def _plug_ins() -> dict[str, Any]:
    """The entry points of our group by name. (Python 3.9 knows no `entry_points(group=…)`.)"""
    found = entry_points()
    points = (
        found.select(group="lepton_jupyter.codecs")
        if hasattr(found, "select")
        else found.get("lepton_jupyter.codecs", ())
    )
    return {point.name: point for point in points}


@functools.cache
def _plug_in(package: str) -> tuple[Codec, ...]:
    point = _plug_ins().get(package)
    if point is None:
        return ()
    try:
        return tuple(point.load())
    except Exception as error:
        raise Untransferable(
            f"the plug-in {point.value!r} for values of {package} cannot be loaded: {type(error).__name__}: {error}",
            hint="Update or uninstall the package that brings it.",
        ) from error
