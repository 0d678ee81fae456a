"""What a job left for the notebook: its variables, brought here or, when they are large, kept there behind a handle.

Runs in the notebook's kernel. Nothing that comes back is unpickled or imported unless the user said so for its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..data import values
from ..data.defining import define
from ..errors import BlobMissing, MissingDependency, UnknownClass, ValueRefused, WireError
from ..job import JobState
from ..outputs.words import size as bytes_in_words
from ..outputs.words import visible
from .cargo import LIMIT

if TYPE_CHECKING:
    from .dispatcher import Dispatcher

Progress = Callable[[int, int], None]
#: A class of the notebook or of a cell, as UnknownClass names it, and how many of them one value may need.
_OWN = re.compile(r"\b__main__\.(\w+)")
_CLASSES = 32


class RemoteValue:
    """A variable that stays on its host. `fetch()` brings it here; its type, shape and size are known already."""

    def __init__(self, name: str, where: str, words: str, size: int, preview: str, fetch: Callable[[], Any]) -> None:
        self.name, self.where, self.words, self.size, self.preview = name, where, words, size, preview
        self._fetch = fetch

    def fetch(self) -> Any:
        """The value. A fetch that was interrupted goes on where it stopped.

        Raises LinkLost, TargetError, and BlobMissing when the host does not keep it any more.
        """
        return self._fetch()

    def __repr__(self) -> str:
        what = f"<{self.name} on {self.where}: {self.words}, {bytes_in_words(self.size)}; .fetch() brings it here>"
        return f"{what}\n{self.preview}" if self.preview else what


class Left:
    """The variables of one job, as its reply tells of them."""

    def __init__(self, dispatcher: Dispatcher, job_id: str, where: str, told: Mapping[str, Any]) -> None:
        self._dispatcher, self._job_id, self._where = dispatcher, job_id, where
        self._told = {name: _Told(name, about) for name, about in told.items()}

    def bring(
        self, namespace: dict[str, Any], progress: Progress, *, names: Collection[str] = (),
        pickle: Collection[str] = (), limit: int = LIMIT,
    ) -> list[str]:  # fmt: skip
        """Set the variables (`names`: only these) in `namespace`; what became of each, in words.

        One larger than `limit` bytes becomes a RemoteValue, unless it is named. Raises what `Dispatcher.fetch` raises.
        """
        said = []
        for name, told in self._told.items():
            if names and name not in names:
                continue
            if told.problem:
                said.append(f"{name} did not come back: {told.problem}")
                continue
            if told.size > limit and name not in names:
                fetch = self._fetcher(told, namespace, name in pickle)
                namespace[name] = RemoteValue(name, self._where, told.words, told.size, told.preview, fetch)
                said.append(f"{name} stays on {self._where} ({told.said}): {name} = {name}.fetch() brings it")
                continue
            try:
                namespace[name] = self._fetch(told, namespace, name in pickle, progress)
            except (BlobMissing, MissingDependency, ValueRefused) as error:
                said.append(f"{name} did not come back: {visible(str(error))}")
                continue
            said.append(f"{name} ({told.said})")
        return said

    def _fetcher(self, told: _Told, namespace: dict[str, Any], pickle: bool) -> Callable[[], Any]:
        return lambda: self._fetch(told, namespace, pickle, lambda done, total: None)

    def _fetch(self, told: _Told, namespace: dict[str, Any], pickle: bool, progress: Progress) -> Any:
        self._dispatcher.fetch(self._job_id, told.blobs, progress)
        with open(self._dispatcher.blobs.path(told.doc), "rb") as file:
            document = json.load(file)
        trust = values.Trust.notebook(namespace)
        for _ in range(_CLASSES):
            try:
                return values.decode(document, self._dispatcher.blobs, trust=trust, allow_pickle=pickle)
            except UnknownClass as error:
                if not self._define(error, namespace):
                    raise
        raise UnknownClass(f"{told.name} is made of more than {_CLASSES} classes that are not known here")

    def _define(self, unknown: UnknownClass, namespace: dict[str, Any]) -> bool:
        """Whether the class that is not known here is of this cell or an earlier one, and known from now on."""
        found = _OWN.search(unknown.message)
        if found is None or found[1] in namespace:
            return False
        try:
            return any(define(found[1], code, namespace) for code in self._cells())
        except Exception as error:
            words = f"the cell's class {found[1]} cannot be defined here: {type(error).__name__}: {error}"
            raise UnknownClass(words, hint="What it needs has to be here, too.") from error

    def _cells(self) -> Iterator[str]:
        """The code of the job; then that of all cells which its kernel had run before, in their order, as one."""
        store = self._dispatcher.store
        job = store.get(self._job_id)
        yield job.spec.code
        yield "\n".join(
            other.spec.code
            for other in reversed(store.list(target=job.spec.target, states=(JobState.COMPLETED,)))
            if other.native_id == job.native_id and other.created <= job.created
        )


class _Told:
    """What a host says of one variable, checked: it may say anything."""

    def __init__(self, name: str, about: Any) -> None:
        self.name = name
        try:
            self.problem = visible(f"{about['error']} {about.get('hint', '')}") if "error" in about else ""
            if self.problem:
                return
            self.doc, self.size = str(about["doc"]), int(about["size"])
            self.blobs = {str(digest): int(size) for digest, size in about["blobs"].items()}
            self.words, self.preview = visible(about["words"])[:200], str(about.get("preview", ""))[:2000]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise WireError(f"the host told nothing sensible of the variable {name!r}") from None
        if self.doc not in self.blobs or any(size < 0 for size in self.blobs.values()):
            raise WireError(f"the host told nothing sensible of the variable {name!r}")
        # What it says of the size decides whether it comes unasked, so it must not be less than what would come.
        self.size = max(self.size, sum(self.blobs.values()))

    @property
    def said(self) -> str:
        return f"{self.words}, {bytes_in_words(self.size)}"
