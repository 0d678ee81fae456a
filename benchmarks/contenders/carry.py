"""Files over the link to a kernel of ours, as `--files` and results travel. Runs in a process of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from _serve import serve

from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.client import AgentClient
from lepton_jupyter.config import Config
from lepton_jupyter.data import files
from lepton_jupyter.job import Resources
from lepton_jupyter.remote import Dispatcher
from lepton_jupyter.remote.transfer import fetch, send
from lepton_jupyter.store import JobStore


class Carry:
    def start(self, **options: Any) -> None:
        """Have a kernel of the target, and stores on both ends."""
        folder = Path(options["folder"])
        self._dispatcher = Dispatcher(Config.load(folder / "lepton.toml"), JobStore(folder / "state" / "jobs.db"))
        self._target = self._dispatcher.target(options["target"])
        self._kernel = self._target.launch(Resources(), lambda text: None)
        self._link = self._open()
        self._here = BlobStore(str(folder / "here"))
        self._there = BlobStore(str(folder / "host" / "blobs"))

    def up(self, path: str) -> dict[str, Any]:
        """Have the host hold a file that neither end has seen before; the seconds, and those to keep it here before."""
        self._forget()
        began = time.perf_counter()
        digest = self._here.put_file(path)
        kept = time.perf_counter()
        travelled = send(self._link, self._here, [digest], _quiet)
        return {"took": time.perf_counter() - kept, "before": kept - began, "travelled": travelled}

    def down(self, path: str) -> dict[str, Any]:
        """Have a file's content from the host, which has it in its store."""
        self._forget()
        digest = self._there.put_file(path)
        began = time.perf_counter()
        travelled = fetch(self._link, self._here, {digest: self._there.size(digest)}, _quiet)
        return {"took": time.perf_counter() - began, "travelled": travelled}

    def again(self, path: str) -> dict[str, Any]:
        """Send what the host has, over a link that knows nothing."""
        digest = self._here.put_file(path)
        send(self._link, self._here, [digest], _quiet)
        link = self._open()
        try:
            began = time.perf_counter()
            travelled = send(link, self._here, [digest], _quiet)
            return {"took": time.perf_counter() - began, "travelled": travelled}
        finally:
            link.close()

    def folder(self, path: str, place: str) -> dict[str, Any]:
        """Bring `place`, on the host, to what a folder is here; its last step is done in this process, not there.

        The seconds of it all, and those among them that were spent here, before anything went.
        """
        began = time.perf_counter()
        found = files.collect([path], os.path.dirname(path), self._here, digests=f"{self._here.folder}.digests")
        kept = time.perf_counter()
        travelled = send(self._link, self._here, found.blobs, _quiet)
        files.place(found.tree, self._there, place, found.packs)
        return {"took": time.perf_counter() - began, "before": kept - began, "travelled": travelled}

    def stop(self) -> None:
        self._link.close()
        self._target.stop(self._kernel)
        self._dispatcher.close()

    def _open(self) -> AgentClient:
        link = AgentClient(lambda: self._target.open(self._kernel), lambda event: None, lambda link, words: None)
        link.ask("jobs")
        return link

    def _forget(self) -> None:
        """Have both ends know nothing."""
        self._link.known.clear()
        for store in (self._here, self._there):
            for path in Path(store.folder).glob("??/*"):
                path.unlink()


def _quiet(done: int, total: int) -> None: ...


if __name__ == "__main__":
    serve(Carry())
