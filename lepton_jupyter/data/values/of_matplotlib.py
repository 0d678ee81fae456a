"""Codec for matplotlib's figures: what arrives is a picture of the figure, and says so. Both ends.

A figure has no form but pickle. What a user wants of one that was drawn elsewhere is to see it and to keep it; so a
`Picture` travels: PNG to show, SVG to print.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from .codec import Codec, fields, library
from .picture import Picture

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker


class _Figure(Codec):
    """Reading one needs no matplotlib."""

    tag = "matplotlib.Figure"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, library("matplotlib.figure").Figure)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        width, height = (int(n) for n in value.get_size_inches() * value.dpi)
        png, svg = io.BytesIO(), io.BytesIO()
        with library("matplotlib").rc_context({"svg.hashsalt": "lepton"}):  # an unchanged figure is the same blob
            value.savefig(png, format="png")
            value.savefig(svg, format="svg", metadata={"Date": None})
        return [width, height, out.leaf(png.getvalue()), out.leaf(svg.getvalue())]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        width, height, png, svg = fields(body, int, int, object, object)
        return Picture(src.bytes(png), src.bytes(svg), width, height)

    def describe(self, value: Any) -> str:
        return f"figure of {len(value.axes)} axes, as a picture"

    def nbytes(self, value: Any) -> int:
        return int(value.bbox.width * value.bbox.height) // 4

    def preview(self, value: Any) -> str:
        return self.describe(value)


CODECS: tuple[Codec, ...] = (_Figure(),)
