"""Buckets: objects are read into the host's blob store and put in place; artifacts are written to them. On the host.

Runs in the remote kernel, by fsspec and the libraries of the extras `s3`, `gcs` and `azure`, which are imported at use.

Whose credentials: the host user's own, as each cloud's library finds them (environment, ~/.aws, gcloud, az), unless the
caller hands in some for this call. Those stay in memory: they enter no file, no environment, no log and no error.

Beside the blobs lies what is known of objects::

    ROOT/urls/ab/abcd…       the digest of one version of one object, under the hash of where it is and its version

so an object that was not changed costs its part of a listing, and none of its bytes. What a broken read brought waits
among the store's `parts` and is gone on with by range.
"""

from __future__ import annotations

from .reading import fetch
from .writing import upload, upload_all

__all__ = ["fetch", "upload", "upload_all"]
