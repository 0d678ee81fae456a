"""Codec for SciPy's sparse matrices and arrays: the arrays they are made of. Both ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import Malformed
from .codec import Codec, fields, library

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

#: Of each format, the attributes that hold it; lil and dok travel as coo.
_PARTS = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "coords"),
    "dia": ("data", "offsets"),
}


class _Sparse(Codec):
    tag = "scipy.sparse"

    def accepts(self, value: Any) -> bool:
        own = type(value).__module__.startswith("scipy.sparse.")
        return own and bool(library("scipy.sparse").issparse(value))

    def encode(self, value: Any, out: Packer) -> list[Any]:
        kind = type(value).__name__.partition("_")[2]
        if kind not in ("matrix", "array"):
            out.refuse("it is a sparse matrix of a kind of its own", "Send value.tocsr().")
        source = value if value.format in _PARTS else value.tocoo()
        parts = [out.child(getattr(source, name, None)) for name in _PARTS[source.format]]
        if source.format == "coo" and not hasattr(source, "coords"):  # SciPy before 1.13
            parts[1] = out.child((source.row, source.col))
        return [value.format, kind, source.format, [int(n) for n in value.shape], parts]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        sparse, numpy = library("scipy.sparse"), library("numpy")
        form, kind, held, shape, parts = fields(body, str, str, str, list, list)
        if held not in _PARTS or kind not in ("matrix", "array") or form not in (held, "lil", "dok"):
            raise Malformed("an unknown kind of sparse matrix")
        if len(shape) not in (1, 2) or not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
            raise Malformed("a sparse matrix with a shape that is none")
        data, *where = src.children(parts)
        arrays = [data, *(where[0] if held == "coo" else where)]
        if not all(isinstance(array, numpy.ndarray) for array in arrays):
            raise Malformed("a sparse matrix without arrays")
        if form == "lil" and shape[0] > max(10_000_000, 8 * data.nbytes):  # every row is a list
            raise Malformed("a sparse matrix with more rows than bits")
        cls = getattr(sparse, f"{held}_{kind}")
        if held in ("coo", "dia"):
            made = cls((data, where[0]), shape=shape)
        else:
            made = cls((data, *where), shape=shape)
            made.check_format(full_check=True)  # wrong indices would make SciPy read beyond its memory
        return made.asformat(form)

    def describe(self, value: Any) -> str:
        return f"sparse {value.dtype} {value.format} {tuple(map(int, value.shape))}, {value.nnz:,} stored"

    def nbytes(self, value: Any) -> int:
        return int(value.nnz * (value.dtype.itemsize + 8))

    def preview(self, value: Any) -> str:
        return repr(value)


CODECS: tuple[Codec, ...] = (_Sparse(),)
