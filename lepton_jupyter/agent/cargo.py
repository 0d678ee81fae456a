"""What a job brings along, held on this host until the job is over. Runs in the agent.

Its form is told in `kernel.staging`; here it is a blob that names others.
"""

from __future__ import annotations

import contextlib
import json
import os

from ..errors import BlobDamaged, BlobMissing, CargoMissing, HostStorage


def held(root: str, job_id: str, digest: str) -> contextlib.ExitStack:
    """Keep all that the cargo `digest` ("": none) is made of, until what this returns is closed.

    Raises CargoMissing when a part of it is not here.
    """
    found = contextlib.ExitStack()
    if digest:
        from ..blobs import BlobStore  # a cell that brings nothing does without

        store = BlobStore(os.path.join(root, "blobs"), fault=HostStorage)
        try:
            with open(store.path(digest), "rb") as file:
                needed = [digest, *json.load(file)["blobs"]]
        except (BlobMissing, BlobDamaged):
            raise CargoMissing("what the cell brings did not arrive") from None
        found.enter_context(store.pin(job_id, needed))
        if missing := sum(not store.has(blob) for blob in needed):
            found.close()
            raise CargoMissing(f"{missing:,} of {len(needed):,} parts of what the cell brings are not on the host")
    return found
