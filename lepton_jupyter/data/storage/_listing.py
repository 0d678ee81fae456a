"""Which objects a URL means, by as few requests as their storage allows. On the host."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import StorageError, WireError
from .._tree import FILE, checked
from . import _index
from ._failures import missing

if TYPE_CHECKING:
    from ._access import Place

#: What clouds call a version of an object, the surest first.
_VERSIONS = (
    "generation",
    "ETag",
    "etag",
    "md5Hash",
    "mtime",
    "LastModified",
    "last_modified",
    "modified",
)


@dataclass(frozen=True)
class Object:
    """An object as it is now: `path` is fsspec's, `name` where it goes below the folder that was asked for."""

    path: str
    name: str
    size: int  # -1: it is not said before it has been read
    key: str  # of this version of it, in the index; empty when its storage tells no version


def objects(place: Place) -> list[Object]:
    """What the URL means, as `cp -r` would: an object, all below a folder, or all that fits a pattern.

    Raises StorageError when that is nothing, or more than the URL asked for.
    """
    url, fs, endpoint = place.url, place.fs, place.endpoint
    root = url.path.rstrip("/")
    base = url.base if url.pattern else root.rpartition("/")[0]
    if url.pattern:
        infos = list(fs.glob(url.path, detail=True).values())
    else:
        first = None if url.folder else fs.info(root)
        infos = [first] if first is not None and first["type"] == "file" else _below(fs, root)
    found = [
        _object(info, base, endpoint, whole=url.scheme == "https")
        for info in infos
        if info["type"] == "file" and not (info["name"].endswith("/") and not info["size"])  # a folder's marker
    ]
    if not found:
        if url.bucket:
            fs.info(url.bucket)  # raises when it is the bucket that is not there
        raise missing(url)
    return found


def check_names(names: Iterable[str], where: str) -> None:
    """Raises StorageError, which says which and why, when not all can be names of files in one folder."""
    try:
        checked(dict.fromkeys(names, ("0" * 64, 0, FILE)))
    except WireError as error:
        hint = "Rename it in the bucket, or name the objects you need one by one or by a pattern."
        raise StorageError(f"{where}: {error.message}", hint=hint) from None


def unchanged(place: Place, wanted: Object) -> bool:
    """Whether the object is still the one that was listed."""
    info = place.fs.info(wanted.path)
    return _key(info, place.endpoint) == wanted.key


def _below(fs: Any, root: str) -> list[Mapping[str, Any]]:
    found = fs.find(root, detail=True)
    return list(found.values()) if isinstance(found, Mapping) else [fs.info(path) for path in found]


def _object(info: Mapping[str, Any], base: str, endpoint: str, *, whole: bool) -> Object:
    path = str(info["name"])
    if whole:
        parts = urllib.parse.urlsplit(path)
        name = os.path.basename(urllib.parse.unquote(parts.path.rstrip("/"))) or str(parts.hostname)
    elif base and not path.startswith(base + "/"):
        raise StorageError(f"the storage listed {path!r}, which is not below {base!r}: refused")
    else:
        name = path[len(base) + 1 :] if base else path
    size = info["size"] if isinstance(info["size"], int) and not (whole and not info.get("partial")) else -1
    return Object(path, name, size, _key(info, endpoint))


def version(info: Mapping[str, Any]) -> str:
    """What changes with an object, as far as its storage tells; empty when it does not."""
    found = next((str(info[name]).strip('"') for name in _VERSIONS if info.get(name)), "")
    return f"{found} {info['size']}" if found else ""


def _key(info: Mapping[str, Any], endpoint: str) -> str:
    now = version(info)
    return _index.key(endpoint, info["name"], now) if now else ""
