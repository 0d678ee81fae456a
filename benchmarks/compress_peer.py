"""Bytes that ISO's NNC codec takes for integer tensors: `python compress_peer.py FILE.npz`, in the peers' environment.

Each tensor is coded with DeepCABAC, the coder of the standard (ISO/IEC 15938-17; `nncodec` is Fraunhofer HHI's),
without loss, in the best of its scan orders, with and without skipping empty rows; headers of the format are left out.
"""

from __future__ import annotations

import sys

import numpy as np
from nncodec.extensions import deepCABAC

#: Blocks in which a matrix is scanned: rows, then squares of 8, 16, 32 and 64.
SCANS = range(5)
UNARY = 11


def coded(tensor: np.ndarray, scan: int, skip: int) -> bytes:
    """One tensor of two axes."""
    encoder = deepCABAC.Encoder()
    encoder.initCtxModels(UNARY, 1)
    empty = (~tensor.any(1)).astype(np.int32) * skip
    off = (deepCABAC.HdspMode.AlwaysOff, np.zeros(2, np.int8))
    encoder.encodeLayer(tensor, 0, scan, 1, 0, skip, empty, *off, 0, 0)
    return encoder.finish().tobytes()


def main() -> None:
    total = 0
    with np.load(sys.argv[1]) as tensors:
        for name in tensors:
            flat = np.ascontiguousarray(tensors[name].reshape(len(tensors[name]), -1), np.int32)
            total += min(len(coded(flat, scan, skip)) for scan in SCANS for skip in (0, 1))
    print(total)


if __name__ == "__main__":
    main()
