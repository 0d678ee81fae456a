"""Objects come into the blob store once for each version, and from there into a folder. On the host.

Small objects come side by side; of a large one several pieces do, and are written in order, so that what is there is
always its beginning: the next attempt goes on behind it. Never is more than `AHEAD` pieces in memory.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ...errors import StorageError
from .._tree import FILE
from ._access import Place, opened
from ._index import Index, key
from ._listing import Object, check_names, objects, unchanged

if TYPE_CHECKING:
    from ...blobs import BlobStore, Digest
    from .._tree import Tree

    Progress = Callable[[int, int], None]

#: Bytes asked for at once, and how many such pieces are on their way together.
PIECE = 8 << 20
AHEAD = 8
#: How often to look again when objects change while they are read.
LOOKS = 4


def fetch(
    url: str,
    cache: BlobStore,
    into: str | os.PathLike[str],
    *,
    credentials: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Tree:
    """Put what lies at `url` into the folder `into`; what was put there: {path below it: (digest, size, mode)}.

    `url` names an object (which gets its own name in `into`), a folder (which becomes one there, with all below it), or
    a pattern with ``*``, ``**``, ``?`` or ``[…]`` (what fits it, below the last folder before the pattern). What the
    store has of the present version is not fetched again; files of earlier fetches stay. `progress(bytes here, bytes in
    all)` counts what has to be fetched.

    Raises what `opened` does; StorageError for names that cannot be files, and nothing is fetched then; the store's
    error when the disk refuses. What arrived until then stays for the next attempt.
    """
    with opened(url, credentials) as place:
        tree = _Reading(place, cache, progress or (lambda done, total: None)).run()
    from ..files import place as put

    with cache.pin("fetch", {digest for digest, _, _ in tree.values()}):
        put(tree, cache, os.fspath(into))
    return tree


class _Reading:
    def __init__(self, place: Place, cache: BlobStore, progress: Progress) -> None:
        self._place, self._cache, self._progress = place, cache, progress
        self._index = Index(cache)
        self._digests: dict[Object, Digest] = {}
        self._stopped = threading.Event()
        self._done = self._total = 0

    def run(self) -> Tree:
        """Bring all to the store. Looks again afterwards, so that an object that was replaced meanwhile comes whole."""
        for _ in range(LOOKS):
            found = objects(self._place)
            check_names((each.name for each in found), self._place.url.shown)
            lacking = [each for each in found if not self._here(each)]
            if not lacking:
                digests = {each.name: self._digests[each] for each in found}
                return {name: (digest, self._cache.size(digest), FILE) for name, digest in digests.items()}
            for each in set(self._digests) - set(found):
                if each.key:  # it was replaced while it came: which version came is not known
                    self._index.forget(each.key)
            self._bring(lacking)
        words = f"{self._place.url.shown} keeps changing while it is read"
        raise StorageError(words, hint="Try again when it is at rest.")

    def _here(self, wanted: Object) -> bool:
        digest = self._digests.get(wanted) or (self._index.find(wanted.key) if wanted.key else None)
        if digest is None or not self._cache.has(digest, None if wanted.size < 0 else wanted.size):
            return False
        self._digests[wanted] = digest
        return self._cache.touch(digest)

    def _bring(self, lacking: list[Object]) -> None:
        self._done, self._total = 0, sum(max(each.size, 0) for each in lacking)
        self._make_room(lacking)
        with ThreadPoolExecutor(AHEAD, "lepton-fetch") as threads:
            try:
                small = {threads.submit(self._one, each): each for each in lacking if each.size <= PIECE}
                for future, each in small.items():
                    future.result()
                    self._count(max(each.size, 0))
                for each in lacking:
                    if each.size > PIECE:
                        self._one(each, threads)
            except BaseException:
                self._stopped.set()
                for future in small:
                    future.cancel()
                raise
        self._index.prune()

    def _make_room(self, lacking: list[Object]) -> None:
        already = 0
        for each in lacking:
            with contextlib.suppress(FileNotFoundError):
                already += os.stat(_part_path(self._cache, each)).st_size
        with self._cache.pin("fetch", set(self._digests.values())):
            self._cache.evict(self._total)
        need, free = self._total - already, shutil.disk_usage(self._cache.folder).free
        if need > free:
            words = f"{self._place.url.shown}: {need:,} bytes are to be fetched, and this host's disk has {free:,}"
            raise StorageError(words, hint="Free disk space there, or name fewer objects.")

    def _one(self, wanted: Object, threads: ThreadPoolExecutor | None = None) -> None:
        """Bring one object; by several threads at a time if they are given, and then its progress is told."""
        with _part(self._cache, wanted) as (fd, path):
            if self._here(wanted):
                os.unlink(path)  # another job has brought it meanwhile
                return
            hasher = hashlib.sha256()
            if wanted.size < 0:
                self._whole(wanted, path)
                _resume(fd, hasher)
            else:
                offset = _resume(fd, hasher)
                if offset > wanted.size:
                    os.ftruncate(fd, 0)
                    offset, hasher = 0, hashlib.sha256()
                if threads:
                    self._count(offset)
                for data in self._pieces(wanted, offset, threads):
                    self._write(fd, data)
                    hasher.update(data)
                    if threads:
                        self._count(len(data))
                if threads and not unchanged(self._place, wanted):
                    os.unlink(path)  # its pieces may be of two versions
                    return
            self._keep(wanted, path, hasher.hexdigest())

    def _keep(self, wanted: Object, path: str, digest: Digest) -> None:
        if self._cache.touch(digest):
            os.unlink(path)
        else:
            with self._cache.storing():
                self._cache.keep(path, digest)
        if wanted.key:
            self._index.record(wanted.key, digest)
        self._digests[wanted] = digest

    def _pieces(self, wanted: Object, offset: int, threads: ThreadPoolExecutor | None) -> Iterator[bytes]:
        ahead: collections.deque[Future[bytes]] = collections.deque()
        for start in range(offset, wanted.size, PIECE):
            end = min(start + PIECE, wanted.size)
            if threads is None:
                yield self._piece(wanted, start, end)
                continue
            ahead.append(threads.submit(self._piece, wanted, start, end))
            if len(ahead) == AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _piece(self, wanted: Object, start: int, end: int) -> bytes:
        if self._stopped.is_set():
            raise StorageError("stopped")
        data: bytes = self._place.fs.cat_file(wanted.path, start=start, end=end)
        if len(data) != end - start:
            words = f"{self._place.url.shown}: {end - start:,} bytes of {wanted.name!r} were due, {len(data):,} came"
            raise StorageError(words, hint="It may have been replaced meanwhile; try again.")
        return data

    def _whole(self, wanted: Object, path: str) -> None:
        """For servers that say no size, or give no ranges: from its beginning to wherever it ends."""
        new = path + ".whole"
        try:
            self._place.fs.get_file(wanted.path, new)
            with open(new, "rb") as source, open(path, "wb") as target, self._cache.storing():
                shutil.copyfileobj(source, target, PIECE)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)

    def _write(self, fd: int, data: bytes) -> None:
        end = os.fstat(fd).st_size
        try:
            with self._cache.storing():
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
        except BaseException:
            os.ftruncate(fd, end)
            raise

    def _count(self, size: int) -> None:
        self._done += size
        self._progress(self._done, self._total)


@contextlib.contextmanager
def _part(cache: BlobStore, wanted: Object) -> Iterator[tuple[int, str]]:
    """The beginning of an object as far as it came, open at its end, which nobody else changes meanwhile.

    The store drops it in the end if nobody goes on with it.
    """
    path = _part_path(cache, wanted)
    while True:
        with cache.storing():
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_at(path, fd):  # else it became a blob meanwhile, or was dropped
                yield fd, path
                return
        finally:
            os.close(fd)


def _is_at(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _part_path(cache: BlobStore, wanted: Object) -> str:
    name = wanted.key or key(os.getpid(), threading.get_ident(), wanted.path)
    return os.path.join(cache.folder, "parts", f"url-{name}")


def _resume(fd: int, hasher: hashlib._Hash) -> int:
    """Take into account what is there; its length."""
    offset = 0
    while data := os.pread(fd, PIECE, offset):
        hasher.update(data)
        offset += len(data)
    return offset
