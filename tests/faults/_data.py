"""What tests of data on its way share."""

from __future__ import annotations

import os
from collections.abc import Callable

from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.client import AgentClient

MB = 1_000_000
OpenLink = Callable[..., AgentClient]


def quiet(done: int, total: int) -> None:
    """Nobody watches."""


def same(store: BlobStore, digests: list[str], other: BlobStore) -> bool:
    """Whether both stores have these blobs, undamaged: each is read anew."""
    stores = [BlobStore(one.folder) for one in (store, other)]
    return all(os.path.getsize(stores[0].path(one)) == os.path.getsize(stores[1].path(one)) for one in digests)
