"""Reading and writing the safetensors format: https://github.com/safetensors/safetensors#format. Both ends.

Our own, since a host may have PyTorch and nothing else, and since a reader that maps the file and checks every length
is a page (docs/decisions/0019-typed-values.md). Standard library only.

A file is the length of its header (8 bytes, little endian), the header (JSON: name -> dtype, shape, data_offsets), and
the data without gaps.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple, Union

from ...errors import Malformed

#: The bits of an element, by the format's name of its dtype.
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16,
    "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_MAX_HEADER = 100_000_000  # as in the reference implementation
_ALIGNED = 64

Buffer = Union[bytes, bytearray, memoryview]


class Tensor(NamedTuple):
    """A tensor in a file: its dtype by the format's name, its shape, and where its data lie in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def write(tensors: dict[str, tuple[str, tuple[int, ...], Buffer]]) -> bytearray:
    """A file of these tensors: (dtype, shape, data in C order) by name. Their data are copied."""
    header: dict[str, Any] = {}
    end = 0
    for name, (dtype, shape, data) in tensors.items():
        start, end = end, end + memoryview(data).nbytes
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNED)
    file = bytearray(8 + len(text) + end)
    file[:8] = len(text).to_bytes(8, "little")
    file[8 : 8 + len(text)] = text
    for name, (_, _, data) in tensors.items():
        start, stop = (8 + len(text) + offset for offset in header[name]["data_offsets"])
        file[start:stop] = memoryview(data).cast("B")
    return file


def read(file: Any) -> dict[str, Tensor]:
    """The tensors in a file, given as bytes or a map of it. Raises Malformed for a file that breaks any rule."""
    size = int.from_bytes(file[:8], "little")
    if len(file) < 8 or size > min(_MAX_HEADER, len(file) - 8):
        raise Malformed("a safetensors file whose header is longer than the file")
    try:
        header = json.loads(bytes(file[8 : 8 + size]))
        found = {name: _tensor(entry, 8 + size) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Malformed(f"a safetensors file with a broken header: {error!s:.100}") from None
    end = 8 + size
    for tensor in sorted(found.values(), key=lambda tensor: (tensor.start, tensor.stop)):
        if tensor.start != end:
            raise Malformed("a safetensors file whose tensors overlap or leave a gap")
        end = tensor.stop
    if end != len(file):
        raise Malformed("a safetensors file with more or less data than its header says")
    return found


def _tensor(entry: Any, base: int) -> Tensor:
    dtype, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, start, stop)):
        raise ValueError("a length that is none")
    if math.prod(shape) * BITS[dtype] != 8 * (stop - start):
        raise ValueError("a tensor whose data are not as long as its shape says")
    return Tensor(dtype, tuple(shape), base + start, base + stop)
