"""What a figure looked like that was drawn elsewhere. Both ends."""

from __future__ import annotations

import base64
import os
from typing import Any


class Picture:
    """A picture of a matplotlib figure: it shows itself in a notebook, and has its bytes in `png` and `svg`."""

    def __init__(self, png: bytes, svg: bytes, width: int, height: int) -> None:
        self.png, self.svg = png, svg
        self.width, self.height = width, height

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file: SVG if `path` ends so, else PNG. Raises OSError."""
        with open(path, "wb") as file:
            file.write(self.svg if os.fspath(path).endswith(".svg") else self.png)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Jupyter's hook. Only the PNG is shown: an SVG from a host could bring a script along."""
        shown = {"image/png": base64.b64encode(self.png).decode(), "text/plain": repr(self)}
        return shown, {"image/png": {"width": self.width, "height": self.height}}

    def __repr__(self) -> str:
        return f"<picture of a figure, {self.width} × {self.height}; save(path) writes PNG or SVG>"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"a matplotlib figure travels as a picture, which has no {name!r}; draw it anew in the cell that needs it"
        )
