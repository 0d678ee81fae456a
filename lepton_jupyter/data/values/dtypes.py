"""NumPy's dtypes as JSON, and back by a grammar of our own. Both ends.

NumPy's parser of dtypes takes far more than one may accept from a stranger (objects, callables, comma lists); here a
dtype is built from names that were checked, so the only dtypes with objects are those that this module makes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ...errors import Malformed
from .codec import library

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

_SIMPLE = re.compile(r"[<>|]([biufcSUV]\d{1,9}|[mM]8(\[(\d{1,9})?(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)")
#: Types that ml_dtypes adds: PyTorch's, TensorFlow's and JAX's small floats.
_SMALL = re.compile(r"bfloat16|u?int[24]|float[468]_e\dm\d\w{0,8}")
_DEPTH = 16


def is_plain(dtype: Any) -> bool:
    """Whether the bytes of an array of this dtype are all there is to it."""
    return not dtype.hasobject and dtype.kind != "T"


def dtype_to_json(dtype: Any, out: Packer) -> Any:
    """A dtype as JSON. Refuses those that are neither NumPy's nor ml_dtypes'."""
    if dtype.kind == "O" and not dtype.names:
        return "O"
    if dtype.kind == "T":
        missing = hasattr(dtype, "na_object")
        return {"strings": bool(dtype.coerce), "na": [out.child(dtype.na_object)] if missing else None}
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return {"base": dtype_to_json(base, out), "shape": [int(n) for n in shape]}
    if dtype.names is not None:
        fields = [
            [out.child(name), out.child(title[0] if title else None), dtype_to_json(kind, out), int(offset)]
            for name in dtype.names
            for kind, offset, *title in [dtype.fields[name]]
        ]
        record = dtype.type is library("numpy").record
        return {"fields": fields, "size": int(dtype.itemsize), "aligned": bool(dtype.isalignedstruct), "record": record}
    if dtype.type.__module__.partition(".")[0] == "ml_dtypes" and _SMALL.fullmatch(dtype.name):
        return {"small": dtype.name}
    if not _SIMPLE.fullmatch(dtype.str) or dtype != library("numpy").dtype(dtype.str):
        out.refuse(f"its dtype is {dtype!r:.60}", "Convert it with .astype(…) to a dtype of NumPy's own.")
    return dtype.str


def dtype_from_json(spec: Any, src: Unpacker, depth: int = 0) -> Any:
    """The dtype again. Raises Malformed."""
    numpy = library("numpy")
    if spec == "O":
        return numpy.dtype(object)
    if type(spec) is str and _SIMPLE.fullmatch(spec):
        return numpy.dtype(spec)
    if type(spec) is not dict or depth > _DEPTH:
        raise Malformed(f"a dtype that is none: {spec!r:.60}")
    if "small" in spec and type(spec["small"]) is str and _SMALL.fullmatch(spec["small"]):
        return numpy.dtype(getattr(library("ml_dtypes"), spec["small"]))
    if "strings" in spec:
        options = {"na_object": src.child(*spec["na"])} if spec["na"] else {}
        return numpy.dtypes.StringDType(coerce=spec["strings"] is True, **options)
    if "base" in spec:
        shape = spec["shape"]
        if not all(type(n) is int and 0 <= n < 1 << 31 for n in shape):
            raise Malformed("a dtype with a shape that is none")
        return numpy.dtype((dtype_from_json(spec["base"], src, depth + 1), tuple(shape)))
    names, titles, kinds, offsets = [], [], [], []
    for name, title, kind, offset in spec["fields"]:
        names.append(src.text(name))
        titles.append(src.child(title))
        kinds.append(dtype_from_json(kind, src, depth + 1))
        offsets.append(offset)
    form: dict[str, Any] = {"names": names, "formats": kinds, "offsets": offsets, "itemsize": spec["size"]}
    if any(title is not None for title in titles):
        form["titles"] = titles
    made = numpy.dtype(form, align=spec["aligned"] is True)
    return numpy.dtype((numpy.record, made)) if spec["record"] is True else made
