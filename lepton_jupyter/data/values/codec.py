"""How the values of one type travel: what every codec is, and what most of them need. Both ends."""

from __future__ import annotations

import importlib
import reprlib
import sys
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from ...errors import Malformed, MissingDependency

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


class Codec:
    """How the values of one type travel. A subclass names its `tag`, and has `accepts`, `encode` and `decode`."""

    #: Names the codec in documents. In a family of a library it begins with the library's name and a dot.
    tag = ""

    def accepts(self, value: Any) -> bool:
        """Whether `encode` takes this value; cheap."""
        raise NotImplementedError

    def encode(self, value: Any, out: Packer) -> list[Any]:
        """The value as a JSON list. `out.child` takes values within, `out.leaf` bytes, `out.refuse` what cannot be."""
        raise NotImplementedError

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        """The value again. `body` may hold anything an enemy wrote: take it apart by `fields`, trust no length."""
        raise NotImplementedError

    def describe(self, value: Any) -> str:
        """What it is, in a few words."""
        return type(value).__name__

    def nbytes(self, value: Any) -> int:
        """About how many bytes travel, without its `parts`; cheap."""
        return sys.getsizeof(value)

    def parts(self, value: Any) -> Collection[Any]:
        """The values within, whose bytes travel too."""
        return ()

    def preview(self, value: Any) -> str:
        """A few lines of what is in it."""
        return _short.repr(value)


class Exact(Codec):
    """A codec for the values of just the class `kind`, not of those derived from it."""

    kind: Any = object

    def accepts(self, value: Any) -> bool:
        return type(value) is self.kind


def fields(body: list[Any], *kinds: type) -> list[Any]:
    """The items of a document's node, which must have exactly these types (`object` allows any). Raises Malformed."""
    if len(body) == len(kinds) and all(kind is object or type(item) is kind for item, kind in zip(body, kinds)):
        return body
    raise Malformed(f"a node with the wrong fields: {_short.repr(body)}")


def nodes(tree: Any, key: str) -> Iterator[dict[str, Any]]:
    """Every object with `key` in what JSON holds, in order, however deep."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if key in part:
                yield part
            waiting.extend(reversed(list(part.values())))
        elif isinstance(part, list):
            waiting.extend(reversed(part))


def library(name: str) -> Any:
    """Import a library that a value needs. Raises MissingDependency, which says how to get it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = _PACKAGES.get(name.partition(".")[0], name.partition(".")[0])
        raise MissingDependency(
            f"this value needs the package {package}, which is not installed here ({error})",
            hint=f"Install it there where this is raised: pip install {package}",
        ) from None


_PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn"}
