"""What a cell brings along is put in place before it runs; what it shall leave is packed after. In the remote kernel.

The cargo of a cell is a JSON document in the host's blob store, made by `remote.cargo` on the user's side::

    {"in": {name: digest of the value's document}, "source": …, "modules": {path: …}, "files": {path: …},
     "packs": {digest: {digest of a file: where it begins}}, "urls": [URL], "out": [name], "pickle": [name],
     "limit": bytes, "blobs": {digest: size}}

A name that the kernel got before, by the same digest, is left alone: what cells made of it since stays.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import HostStorage, LeptonError
from .inside import Importable, Lepton

if TYPE_CHECKING:
    from ..blobs import BlobStore
    from ..data.files import State

_TELL_EVERY = 1.0


class Staging:
    """The cargo of one kernel's cells. `kernel` is the ipykernel."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._known: dict[str, str] = {}  # name -> digest of the document it was last set from
        self._about: dict[str, Any] = {}
        self._cargo: dict[str, Any] = {}
        self._present: dict[str, str] = {}  # modules that this host had already, as they were
        self._work = ""  # the folder of this kernel's files, once it has one
        self._before: State = {}
        self._blobs: BlobStore | None = None
        self.lepton = Lepton(self.leave)
        kernel.shell.builtin_trap.auto_builtins["lepton"] = self.lepton  # as `display` is
        Importable(self.lepton).install()

    def begin(self, about: dict[str, Any]) -> None:
        """A job begins: `root` on this host, `job`, `kernel`, and `cargo`, the digest of what it brings."""
        self._about, self._cargo = about, {}

    def bring_in(self) -> dict[str, Any] | None:
        """Put everything in place; None, or the reply of a cell that failed before it ran."""
        try:
            self._say("STAGING_IN")
            self._cargo = self._document(str(self._about["cargo"]))
            self._modules()
            self._files()
            self._values()
            self._say("RUNNING")
        except BaseException as error:  # noqa: BLE001 - also an interrupt: without a reply the job would never end
            return self.failure(error)
        return None

    @property
    def root(self) -> str:
        """Our folder on this host."""
        return str(self._about["root"])

    @property
    def training(self) -> dict[str, Any]:
        """How the cell shall train: kernel.training."""
        options: dict[str, Any] = self._cargo.get("training", {})
        return options

    def take_out(self, succeeded: bool) -> dict[str, Any]:
        """What the notebook asked for, and what the cell wrote: the part of the reply that tells of it."""
        names = self._cargo.get("out", ())
        if not names and not self._work:
            return {}
        out: dict[str, Any] = {name: {"error": "the cell failed"} for name in names}
        notes: list[str] = []
        try:
            self._say("STAGING_OUT")
            notes += self._wrote()
            if succeeded:
                out = {name: self._packed(name) for name in names}
        except BaseException as error:  # noqa: BLE001 - the cell itself has ended, and what became of it is known
            notes.append(f"not all that the cell left was kept: {_words(error)}")
            out = {name: {"error": _words(error)} for name in names}
        return {"out": out, "notes": notes}

    def leave(self, path: str, name: str) -> None:
        """Keep a file of the job as an artifact. Raises OSError, LeptonError."""
        digest = self.store.put_file(path)
        left: dict[str, Any] = {"name": name, "size": self.store.size(digest), "digest": digest}
        bucket = str(self._about.get("artifacts", ""))
        try:
            if bucket:
                from ..data import storage

                url = f"{bucket.rstrip('/')}/{self._about['job']}/{name}"
                credentials, path = self._about.get("credentials"), self.store.path(digest)
                left["url"] = storage.upload(path, url, self.store, digest=digest, credentials=credentials)
        finally:  # a bucket that does not take it leaves it here
            self._publish("lepton_artifact", left)

    @property
    def store(self) -> BlobStore:
        """The host's blobs."""
        if self._blobs is None:
            from ..blobs import BlobStore

            self._blobs = BlobStore(os.path.join(self._about["root"], "blobs"), fault=HostStorage)
        return self._blobs

    @property
    def _namespace(self) -> dict[str, Any]:
        names: dict[str, Any] = self._kernel.shell.user_ns
        return names

    def _document(self, digest: str) -> Any:
        with open(self.store.path(digest), "rb") as file:
            return json.load(file)

    def _modules(self) -> None:
        tree = self._cargo.get("modules")
        if tree:
            from ..data import modules

            folder = os.path.join(self._about["root"], "modules")
            own = modules.left_alone(tree, folder, self._present)
            installed = modules.install(own, self.store, folder, self._cargo.get("packs"))
            modules.activate(installed, self._namespace)

    def _files(self) -> None:
        """Files lie in a folder of this kernel's own, which is where its cells run from then on."""
        tree, urls = self._cargo.get("files"), self._cargo.get("urls")
        if not (tree or urls):
            return
        from ..data import files

        self._work = os.path.join(self._about["root"], "work", str(self._about["kernel"]))
        os.makedirs(self._work, mode=0o700, exist_ok=True)
        if tree:
            files.place(tree, self.store, self._work, self._cargo.get("packs"))
        for url in urls or ():
            from ..data import storage

            credentials, progress = self._about.get("credentials"), self._progress(url)
            storage.fetch(url, self.store, self._work, credentials=credentials, progress=progress)
        os.chdir(self._work)
        self._before = files.state(self._work)

    def _progress(self, url: str) -> Callable[[int, int], None]:
        """Tells the notebook how far a transfer is, about once a second."""
        told = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal told
            if time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                where = url.partition("?")[0]  # what follows may be a signature
                self._publish("lepton_notice", {"text": f"{where}: {done >> 20:,} of {total >> 20:,} MiB"})

        return tell

    def _values(self) -> None:
        from ..data import source, values

        namespace = self._namespace
        news = {name: digest for name, digest in self._cargo.get("in", {}).items() if not self._has(name, digest)}
        pickles, trust = self._cargo.get("pickle", ()), values.Trust.host(namespace)

        def bring(name: str) -> None:
            digest = news.pop(name, None)
            if digest is not None:
                document, pickled = self._document(digest), name in pickles
                namespace[name] = values.decode(document, self.store, trust=trust, allow_pickle=pickled)
                self._known[name] = digest

        definitions = self._cargo.get("source")
        if definitions:
            made = set(source.restore(definitions, namespace, bring))
            for name, of in definitions.get("holds", {}).items():
                if made & set(of):  # an instance of a class that is another now
                    news.setdefault(name, self._cargo["in"][name])
        for name in list(news):
            bring(name)

    def _has(self, name: str, digest: str) -> bool:
        return name in self._namespace and self._known.get(name) == digest

    def _packed(self, name: str) -> dict[str, Any]:
        from ..data import values

        if name not in self._namespace:
            return {"error": f"the cell did not make a variable {name!r}"}
        value = self._namespace[name]
        try:
            encoded = values.encode(value, self.store, name=name, allow_pickle=name in self._cargo.get("pickle", ()))
        except LeptonError as error:
            return {"error": error.message, "hint": error.hint}
        document = json.dumps(encoded.doc).encode()
        digest = self.store.put(document)
        self._known[name] = digest  # what comes back unchanged need not be set again
        blobs = {**encoded.digests, digest: len(document)}
        about = {"doc": digest, "blobs": blobs, "size": encoded.size, "words": encoded.words}
        return {**about, "preview": values.preview(value)}

    def _wrote(self) -> list[str]:
        """Files that the cell wrote in its folder are its artifacts; what is to be said of it."""
        if not self._work:
            return []
        from ..data import files

        news = files.changed(self._work, self._before)
        notes = list(news.notes)
        for path in news:
            try:
                self.leave(os.path.join(self._work, path), path)
            except (OSError, LeptonError) as error:
                notes.append(f"{path} did not get where it belongs: {_words(error)}")
        self._before = files.state(self._work)
        return notes

    def _say(self, state: str) -> None:
        self._publish("lepton_state", {"state": state})

    def _publish(self, msg_type: str, content: dict[str, Any]) -> None:
        self._kernel.send_response(self._kernel.iopub_socket, msg_type, content)

    def failure(self, error: BaseException) -> dict[str, Any]:
        """The reply of a cell that failed before it ran."""
        shown = {"ename": type(error).__name__, "evalue": str(error), "traceback": [_words(error)]}
        sys.stdout.flush()
        sys.stderr.flush()
        self._publish("error", shown)
        count = self._kernel.shell.execution_count
        return {"status": "error", **shown, "execution_count": count, "user_expressions": {}, "payload": []}


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
