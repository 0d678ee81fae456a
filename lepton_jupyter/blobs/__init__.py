"""Bytes by their content: a folder of blobs named by their SHA-256, shared by all who run as the same user.

Runs everywhere, also on hosts: standard library only, Python 3.9.

::

    FOLDER/ (0700)
      ab/abcd…        a blob (0400); the time of its last access is when it was last used
      parts/abcd…     a blob that is on its way in; what is there stays for the next attempt
      pins/NAME-…     digests that somebody needs, under a lock that ends with its process
      lock            held while blobs are evicted
      limit           how many bytes there may be, where it was said

A blob is no one's only copy, so none is synced to the disk: what a power cut tore does not match its digest, is removed
at its next use, and made or sent again.
"""

from __future__ import annotations

from ._bytes import Data, Digest, checked, checked_size
from ._eviction import KEEP_PARTS, MAX_BYTES
from ._part import Part
from ._store import BlobStore

__all__ = ["KEEP_PARTS", "MAX_BYTES", "BlobStore", "Data", "Digest", "Part", "checked", "checked_size"]
