"""A road for values: a store, JSON in between, and a receiving end of either kind."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.data import values
from lepton_jupyter.data.values import Encoded, Trust


class Road:
    """Sends values through a store in `folder`. The notebook is the module of the test that asks."""

    def __init__(self, folder: Path, module: str) -> None:
        self.store = BlobStore(str(folder))
        self.namespace = vars(sys.modules[module])

    def encode(self, value: Any, **options: Any) -> Encoded:
        return values.encode(value, self.store, name="value", **options)

    def receive(self, doc: Any, host: bool = False, **options: Any) -> Any:
        """What a document holds for the user's side, or for the host."""
        trust = Trust.host(self.namespace) if host else Trust.notebook(self.namespace)
        return values.decode(json.loads(json.dumps(doc)), self.store, trust=trust, **options)

    def send(self, value: Any, host: bool = False) -> Any:
        """The value after the whole way."""
        return self.receive(self.encode(value).doc, host)

    def document(self, *nodes: list[Any], root: Any = None) -> dict[str, Any]:
        """A document of these nodes, as an enemy may write it; the last one is its value."""
        return {"lepton": 1, "nodes": list(nodes), "root": [len(nodes) - 1] if root is None else root}
