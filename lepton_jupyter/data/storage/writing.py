"""Files become objects of a bucket: artifacts, checkpoints. On the host.

An object appears whole or not at all; large ones go in parts that the cloud joins at the end.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, StorageError
from ._access import Place, opened
from ._index import Index, key
from ._listing import check_names, version
from ._urls import BUCKETS, parse

if TYPE_CHECKING:
    from ...blobs import BlobStore, Digest

#: Bytes of a part of a large object, and how many go side by side: both are in memory.
PART = 16 << 20
ASIDE = 4


def upload(
    path: str,
    url: str,
    cache: BlobStore | None = None,
    *,
    digest: Digest | None = None,
    credentials: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Write a file to `url`, or below it under its own name when `url` ends with a slash; the object's URL.

    With `cache`, an object that this host wrote and that nobody changed since is not written again when the file is
    still the same; `digest` saves reading the file to know that.

    Raises what `opened` does, and OSError when the file cannot be read.
    """
    name = os.path.basename(path) if url.endswith("/") else ""
    digests = {name: digest} if digest else {}
    return upload_all({name: path}, url, cache, digests=digests, credentials=credentials, progress=progress)[name]


def upload_all(
    files: Mapping[str, str],
    url: str,
    cache: BlobStore | None = None,
    *,
    digests: Mapping[str, Digest] | None = None,
    credentials: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, str]:
    """Write files, {name below `url`: path}, over one connection; the URL of each. The rest is as with `upload`."""
    where = parse(url)
    if where.scheme not in BUCKETS:
        choices = ", ".join(f"{scheme}://" for scheme in BUCKETS)
        raise ConfigError(f"{where.shown}: artifacts cannot be written there", hint=f"Buckets can: {choices}")
    check_names(filter(None, files), where.shown)
    sizes = {name: os.stat(path).st_size for name, path in files.items()}
    known = {name: (digests or {}).get(name) or _digest(path) for name, path in files.items()} if cache else {}
    base, done, total = url.rstrip("/"), 0, sum(sizes.values())
    written: dict[str, str] = {}
    with opened(url, credentials) as place:
        for name, path in files.items():

            def count(bytes_of_it: int, before: int = done) -> None:
                if progress:
                    progress(before + bytes_of_it, total)

            target = "/".join(filter(None, (place.url.path.rstrip("/"), name)))
            if target == place.url.bucket:
                raise StorageError(f"{where.shown} names no object", hint="Write for example s3://bucket/folder/.")
            _write(place, path, target, cache, known.get(name), count)
            done += sizes[name]
            count(0, done)
            written[name] = "/".join(filter(None, (base, name)))
    return written


def _write(
    place: Place, path: str, target: str, cache: BlobStore | None, digest: Digest | None, count: Callable[[int], None]
) -> None:
    index = Index(cache) if cache else None
    if index and index.find(_key(place, target)) == digest:
        return
    hook = importlib.import_module("fsspec.callbacks").Callback(hooks={"count": lambda size, value, **_: count(value)})
    options = {"chunksize": PART, "max_concurrency": ASIDE} if place.url.scheme == "s3" else {}
    place.fs.put_file(path, target, callback=hook, **options)
    if index and digest:
        index.record(_key(place, target), digest)


def _key(place: Place, target: str) -> str:
    """Of what is at `target` now; not of what was read from there, so that others' objects are never taken for ours."""
    try:
        now = version(place.fs.info(target))
    except FileNotFoundError:
        now = ""
    return key("written", place.endpoint, target, now)


def _digest(path: str) -> Digest:
    hasher = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            hasher.update(data)
    return hasher.hexdigest()
