"""Codecs for PyTorch's tensors: every dtype and layout, views that share their memory, parameters. Both ends.

The memory that tensors of a document share is one safetensors file, of the part that they really use; each tensor is a
view of it. On arrival a file is mapped copy-on-write. Modules and data sets: of_torch_modules.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import Malformed
from . import of_torch_modules, safetensors
from .codec import Codec, fields, library

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

#: Dtypes that PyTorch and the safetensors format both have; memory of any other is written as bytes.
_FORMAT = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "float8_e5m2": "F8_E5M2", "float8_e4m3fn": "F8_E4M3",
    "int16": "I16", "uint16": "U16", "float16": "F16", "bfloat16": "BF16", "int32": "I32", "uint32": "U32",
    "float32": "F32", "int64": "I64", "uint64": "U64", "float64": "F64", "complex64": "C64",
}  # fmt: skip
_DTYPES = {*_FORMAT, "complex128", "complex32", "float8_e8m0fnu", "float8_e4m3fnuz", "float8_e5m2fnuz"}
_GRID = 64
_SPARSE = {"torch.sparse_csr": 2, "torch.sparse_csc": 2, "torch.sparse_bsr": 2, "torch.sparse_bsc": 2}


class _Memory:
    """The memory of some tensors: at the sending end the part they use, at the receiving end its bytes."""

    def __init__(self, storage: Any, dtype: Any) -> None:
        self.storage, self.dtype = storage, dtype
        self.start, self.stop = 0, 0
        self.bytes: Any = None

    def use(self, start: int, stop: int) -> None:
        """Count these bytes among the used ones."""
        start -= start % _GRID
        stop = min(stop + -stop % _GRID, self.storage.nbytes())
        empty = self.start == self.stop
        self.start, self.stop = (start, stop) if empty else (min(start, self.start), max(stop, self.stop))


class _Storage(Codec):
    """Never a value itself: the memory that tensors refer to."""

    tag = "torch.storage"

    def accepts(self, value: Any) -> bool:
        return False

    def reserve(self, tensor: Any, out: Packer) -> tuple[_Memory, Any]:
        """The memory of a tensor in this document, and its item."""
        storage = tensor.untyped_storage()
        known: dict[tuple[Any, int], tuple[_Memory, Any]] = out.notes.setdefault(self.tag, {})
        key = (storage.device, storage.data_ptr() or id(storage))
        if key not in known:
            memory = _Memory(storage, tensor.dtype)
            known[key] = memory, out.reserve(lambda: [self.tag, *self._write(memory, out)])
        return known[key]

    def _write(self, memory: _Memory, out: Packer) -> list[Any]:
        torch = library("torch")
        part = torch.empty(0, dtype=torch.uint8, device=memory.storage.device).set_(memory.storage)
        part = part[memory.start : memory.stop].cpu()
        name = _name(memory.dtype)
        kind = _FORMAT.get(name, "U8")
        if len(part) % (safetensors.BITS[kind] // 8):
            kind = "U8"
        shape = (8 * len(part) // safetensors.BITS[kind],)
        data = memoryview(part.numpy()) if len(part) else b""
        return [memory.start, out.leaf(safetensors.write({"memory": (kind, shape, data)}))]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        torch = library("torch")
        start, leaf = fields(body, int, object)
        file = src.buffer(leaf)
        tensor = safetensors.read(file).get("memory")
        if tensor is None or start < 0 or start % _GRID:
            raise Malformed("a file of tensors that holds something else")
        memory = _Memory(None, None)
        memory.start, memory.stop = start, start + tensor.stop - tensor.start
        if tensor.start == tensor.stop:
            memory.bytes = torch.empty(0, dtype=torch.uint8)
        else:
            memory.bytes = torch.frombuffer(file, dtype=torch.uint8, offset=tensor.start)
        memory.bytes = memory.bytes.to(src.device)
        return memory


_storage = _Storage()


class _Tensor(Codec):
    tag = "torch.Tensor"

    def accepts(self, value: Any) -> bool:
        torch = library("torch")
        return type(value) in (torch.Tensor, torch.nn.Parameter, getattr(torch.nn, "Buffer", None))

    def encode(self, value: Any, out: Packer) -> list[Any]:
        tensor = value.detach().resolve_conj().resolve_neg()
        about = [type(value).__name__, _name(value.dtype), bool(value.requires_grad), out.child(vars(value) or None)]
        if value.is_quantized or value.dtype not in map(_dtype, _DTYPES):
            out.refuse(f"it is a tensor of {value.dtype}", "Send .dequantize(), or .int_repr() and its scale.")
        if value.is_nested or value.is_mkldnn:
            out.refuse("it is a nested or MKL-DNN tensor", "Send value.to_padded_tensor(0), or value.to_dense().")
        if value.layout == library("torch").sparse_coo:
            return [*about, "coo", list(value.shape), self._of_coo(tensor, out)]
        if str(value.layout) in _SPARSE:
            return [*about, str(value.layout), list(value.shape), self._of_compressed(tensor, out)]
        if value.device.type == "meta":
            return [*about, "meta", list(value.shape), list(tensor.stride())]
        memory, item = _storage.reserve(tensor, out)
        size, stride, offset = list(tensor.shape), list(tensor.stride()), tensor.storage_offset()
        if tensor.numel():
            end = offset + sum((n - 1) * step for n, step in zip(size, stride)) + 1
            memory.use(offset * tensor.element_size(), end * tensor.element_size())
        return [*about, "strided", size, [item, stride, offset]]

    def _of_coo(self, tensor: Any, out: Packer) -> list[Any]:
        return [out.child(tensor._indices()), out.child(tensor._values()), bool(tensor.is_coalesced())]

    def _of_compressed(self, tensor: Any, out: Packer) -> list[Any]:
        rows = "csr" in str(tensor.layout) or "bsr" in str(tensor.layout)
        first, second = ("crow_indices", "col_indices") if rows else ("ccol_indices", "row_indices")
        return [out.child(getattr(tensor, first)()), out.child(getattr(tensor, second)()), out.child(tensor.values())]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        torch = library("torch")
        kind, dtype, grad, extra, layout, size, data = fields(body, str, str, bool, object, str, list, list)
        if dtype not in _DTYPES or not all(type(n) is int and 0 <= n < 1 << 62 for n in size):
            raise Malformed("a tensor of an unknown dtype, or of a shape that is none")
        tensor = self._made(torch, _dtype(dtype), layout, size, data, src)
        if tensor.dtype != _dtype(dtype):
            raise Malformed("a tensor of another dtype")
        if kind != "Tensor":
            if kind not in ("Parameter", "Buffer"):
                raise Malformed("a tensor of an unknown class")
            tensor = getattr(torch.nn, kind)(tensor, **({"requires_grad": grad} if kind == "Parameter" else {}))
        tensor.requires_grad_(grad)
        attributes = src.child(extra)
        if type(attributes) is dict:
            vars(tensor).update(attributes)
        return tensor

    def _made(self, torch: Any, dtype: Any, layout: str, size: list[int], data: list[Any], src: Unpacker) -> Any:
        if layout == "coo":
            indices, values, coalesced = fields(data, list, list, bool)
            parts = src.children([indices, values])
            return torch.sparse_coo_tensor(*parts, size, is_coalesced=coalesced, check_invariants=True)
        if layout in _SPARSE:
            parts = src.children(data)
            kind = getattr(torch, layout.partition(".")[2])
            return torch.sparse_compressed_tensor(*parts, size, layout=kind, check_invariants=True)
        if layout == "meta":
            return torch.empty_strided(size, data, dtype=dtype, device="meta")
        item, stride, offset = fields(data, list, list, int)
        memory = src.child(item)
        if layout != "strided" or type(memory) is not _Memory:
            raise Malformed("a tensor without memory")
        return self._view(torch, memory, dtype, size, stride, offset)

    def _view(self, torch: Any, memory: _Memory, dtype: Any, size: list[int], stride: list[Any], offset: int) -> Any:
        width = dtype.itemsize
        if len(size) != len(stride) or not all(type(n) is int and 0 <= n < 1 << 62 for n in (*stride, offset)):
            raise Malformed("a tensor with strides that are none")
        if 0 in size:
            return torch.empty_strided(size, stride, dtype=dtype, device=memory.bytes.device)
        end = offset + sum((n - 1) * step for n, step in zip(size, stride)) + 1
        if offset * width < memory.start or end * width > memory.stop:
            raise Malformed("a tensor beyond its memory")
        usable = memory.bytes[: len(memory.bytes) // width * width].view(dtype)
        return torch.as_strided(usable, size, stride, offset - memory.start // width)

    def describe(self, value: Any) -> str:
        return f"{_name(value.dtype)} tensor {tuple(value.shape)}"

    def nbytes(self, value: Any) -> int:
        if value.device.type == "meta":
            return 0
        return int(value.numel() * value.element_size() if value.layout is library("torch").strided else 1 << 10)

    def parts(self, value: Any) -> Any:
        return (value._values(), value._indices()) if value.is_sparse else ()

    def preview(self, value: Any) -> str:
        flat = value.detach().reshape(-1)[:12] if value.layout is library("torch").strided else value
        return f"{self.describe(value)} on {value.device}\n{flat!s}"


class _Named(Codec):
    """torch.dtype, torch.memory_format, torch.layout: a name."""

    tag = "torch.named"

    def accepts(self, value: Any) -> bool:
        torch = library("torch")
        return isinstance(value, (torch.dtype, torch.memory_format, torch.layout))

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return [_name(value)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        found = getattr(library("torch"), fields(body, str)[0], None)
        if not self.accepts(found):
            raise Malformed("an unknown name of PyTorch's")
        return found


class _Small(Codec):
    """torch.Size, torch.device, the tuples that functions return, a generator of random numbers."""

    tag = "torch.small"

    def accepts(self, value: Any) -> bool:
        torch = library("torch")
        named = type(value).__module__ == "torch.return_types"
        return named or isinstance(value, (torch.Size, torch.device, torch.Generator))

    def encode(self, value: Any, out: Packer) -> list[Any]:
        torch = library("torch")
        if isinstance(value, torch.Size):
            return ["Size", out.child(list(value))]
        if isinstance(value, torch.device):
            return ["device", str(value)]
        if isinstance(value, torch.Generator):
            if value.device.type != "cpu":
                out.refuse("it is a generator of a GPU", "Make it in the cell: torch.Generator(device).manual_seed(…).")
            return ["Generator", out.child(value.get_state())]
        return [type(value).__name__, out.child(list(value))]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        torch = library("torch")
        kind, item = fields(body, str, object)
        found = src.child(item)
        if kind == "Size":
            return torch.Size(found)
        if kind == "device":
            return torch.device(found)
        if kind == "Generator":
            return torch.Generator().set_state(found.cpu())
        cls = vars(torch.return_types).get(kind)
        if not (isinstance(cls, type) and issubclass(cls, tuple)):
            raise Malformed("an unknown tuple of PyTorch's")
        return cls(found)


CODECS: tuple[Codec, ...] = (_storage, _Tensor(), _Named(), _Small(), *of_torch_modules.CODECS)


def _name(dtype: Any) -> str:
    return str(dtype).partition(".")[2]


def _dtype(name: str) -> Any:
    return getattr(library("torch"), name, None)
