"""Codec for PIL's images: mode, size, palette, information and raw pixels; no image format, so nothing to explode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import Malformed, Untransferable
from .codec import Codec, fields, library

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

#: Bits of a pixel by mode.
_BITS = {
    "1": 1, "L": 8, "P": 8, "LA": 16, "PA": 16, "La": 16, "I;16": 16, "I;16B": 16, "I;16L": 16,
    "RGB": 24, "YCbCr": 24, "LAB": 24, "HSV": 24, "RGBA": 32, "RGBX": 32, "RGBa": 32, "CMYK": 32, "I": 32, "F": 32,
}  # fmt: skip


class _Image(Codec):
    """An image arrives as `PIL.Image.Image`, without the file it was read from."""

    tag = "PIL.Image"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, library("PIL.Image").Image)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        if getattr(value, "n_frames", 1) > 1:
            out.refuse("it has several frames", "Send [f.copy() for f in PIL.ImageSequence.Iterator(image)].")
        if value.mode not in _BITS:
            out.refuse(f"its mode is {value.mode}", 'Convert it: image.convert("RGB").')
        value.load()
        palette = None
        if value.palette is not None:
            mode = value.palette.mode
            palette = [mode, out.leaf(bytes(value.getpalette(mode) or []))]
        return [value.mode, list(value.size), out.leaf(value.tobytes()), palette, self._about(value, out)]

    def _about(self, value: Any, out: Packer) -> list[Any]:
        """What PIL noted about it, as far as it travels."""
        kept = []
        for name, part in value.info.items():
            try:
                kept.append([name, out.child(part)])
            except Untransferable:
                continue
        return [[name for name, _ in kept], [item for _, item in kept]]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        pil = library("PIL.Image")
        mode, size, leaf, palette, about = fields(body, str, list, object, object, list)
        width, height = fields(size, int, int)
        data = src.bytes(leaf)
        if mode not in _BITS or min(width, height) < 0 or len(data) != (width * _BITS[mode] + 7) // 8 * height:
            raise Malformed("an image with more or fewer pixels than it says")
        if not data and max(width, height) > 1 << 16:
            raise Malformed("an image without pixels that is too large")
        image = pil.frombytes(mode, (width, height), data) if data else pil.new(mode, (width, height))
        if palette is not None:
            kind, colours = fields(palette, str, object)
            image.putpalette(src.bytes(colours), kind)
        names, values = fields(about, list, list)
        image.info.update(zip(names, src.children(values)))
        return image

    def describe(self, value: Any) -> str:
        return f"{value.mode} image {value.width:,} × {value.height:,}"

    def nbytes(self, value: Any) -> int:
        return int(value.width * value.height * _BITS.get(value.mode, 32) // 8)

    def preview(self, value: Any) -> str:
        return self.describe(value)


CODECS: tuple[Codec, ...] = (_Image(),)
