"""Codecs for what has a class of the user's own: enums, named tuples, dataclasses, objects; classes, functions.

Both ends. Objects are taken apart into their attributes and put together without calling their class, so none of the
user's code runs; classes and functions travel by name, and their source, if they are the notebook's, by data/source.py.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
import types
from typing import TYPE_CHECKING, Any

from ...errors import Malformed, UnknownClass
from .codec import Codec, fields
from .trust import is_own

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

#: CPython's flag of a class that Python code made.
_HEAP = 1 << 9
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)


def name_of(thing: Any, out: Packer) -> list[str]:
    """Module and qualified name of a class or function, by which the other end finds it. Refuses what it cannot."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(name, str)) or "<" in name:
        out.refuse(
            f"{name or thing!r:.80} has no name to be found by", "Define it at the top level of a cell or module."
        )
    if module != "__main__":
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is not thing:
            out.refuse(
                f"it is not what {module}.{name} is now", "Make it again after the module was changed or reloaded."
            )
    return [module, name]


class _Enum(Codec):
    tag = "enum"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, enum.Enum)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        cls = type(value)
        if cls.__members__.get(value.name or "") is value:
            return [*name_of(cls, out), out.child(value.name), None]
        return [*name_of(cls, out), None, value.value]  # a combination of flags

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        module, name, member, flags = fields(body, str, str, object, object)
        cls = src.trust.find_class(module, name, enum.Enum)
        if member is None:
            if type(flags) is int and issubclass(cls, enum.Flag):
                return cls(flags)
            raise Malformed("an enum without a member")
        found = cls.__members__.get(src.text(member))
        if found is None:
            raise UnknownClass(f"{module}.{name} has no member {member!r:.60} here")
        return found

    def describe(self, value: Any) -> str:
        return str(value)

    preview = describe


class _NamedTuple(Codec):
    tag = "namedtuple"

    def accepts(self, value: Any) -> bool:
        return type(value).__base__ is tuple and isinstance(getattr(value, "_fields", None), tuple)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        names = list(value._fields)
        return [*name_of(type(value), out), names, [out.child(part, ".", n) for n, part in zip(names, value)]]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        module, name, names, values = fields(body, str, str, list, list)
        cls = src.trust.find_class(module, name, tuple)
        if cls.__base__ is not tuple or list(getattr(cls, "_fields", ())) != names or len(names) != len(values):
            raise UnknownClass(f"{module}.{name} has other fields here")
        return tuple.__new__(cls, src.children(values))

    def parts(self, value: Any) -> Any:
        return tuple(value)


class _Object(Codec):
    """An object of one of the user's own classes: its attributes, in its `__dict__` and its slots."""

    tag = "object"

    def accepts(self, value: Any) -> bool:
        return is_own(type(value)) and _is_simple(type(value))

    def encode(self, value: Any, out: Packer) -> list[Any]:
        state = _state(value)
        return [
            *name_of(type(value), out),
            out.children(list(state)),
            [out.child(part, ".", name) for name, part in state.items()],
        ]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        module, name, names, values = fields(body, str, str, list, list)
        cls = self._class(src, module, name)
        if not _is_simple(cls):
            raise UnknownClass(f"{module}.{name} is more than its attributes here")
        made = object.__new__(cls)
        slots = _slots(cls)
        attributes = getattr(made, "__dict__", None)
        for key, value in zip(map(src.text, names), src.children(values)):
            if key in slots:
                slots[key].__set__(made, value)
            elif attributes is not None:
                attributes[key] = value
            else:
                raise UnknownClass(f"{module}.{name} has no attribute {key!r:.60} here")
        self._check(cls, made)
        return made

    def _class(self, src: Unpacker, module: str, name: str) -> Any:
        return src.trust.find_own(module, name)

    def _check(self, cls: Any, made: Any) -> None:
        """Raise for an object that its class would not have made."""

    def describe(self, value: Any) -> str:
        return type(value).__qualname__

    def nbytes(self, value: Any) -> int:
        return 64

    def parts(self, value: Any) -> Any:
        return _state(value).values()


class _DataClass(_Object):
    tag = "dataclass"

    def accepts(self, value: Any) -> bool:
        return dataclasses.is_dataclass(value) and not isinstance(value, type) and _is_simple(type(value))

    def _class(self, src: Unpacker, module: str, name: str) -> Any:
        return src.trust.find_class(module, name)

    def _check(self, cls: Any, made: Any) -> None:
        if not dataclasses.is_dataclass(cls):
            raise UnknownClass(f"{type(made).__qualname__} is no dataclass here")
        state = _state(made)
        missing = [f.name for f in dataclasses.fields(cls) if f.name not in state and not hasattr(cls, f.name)]
        if missing:
            raise UnknownClass(f"{type(made).__qualname__} has more fields here: {', '.join(missing)}")


class _Reference(Codec):
    """A class, or a function: its name."""

    tag = "reference"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, (type, *_FUNCTIONS))

    def encode(self, value: Any, out: Packer) -> list[Any]:
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, types.ModuleType):
            out.refuse("it is a method of an object", "Send the object itself.")
        name = getattr(value, "__name__", "")
        if isinstance(value, types.BuiltinFunctionType) and vars(sys.modules.get("torch", types)).get(name) is value:
            return ["torch", name]  # PyTorch's functions in C do not say where they are from
        return name_of(value, out)

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        found = src.trust.find_reference(*fields(body, str, str))
        if not isinstance(found, (type, *_FUNCTIONS)):
            raise Malformed("a reference to something that is no class and no function")
        return found

    def describe(self, value: Any) -> str:
        return f"{'class' if isinstance(value, type) else 'function'} {value.__qualname__}"


class _Partial(Codec):
    tag = "partial"

    def accepts(self, value: Any) -> bool:
        return type(value) is functools.partial and not value.__dict__

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return [out.child(value.func, ".", "func"), out.child(value.args, ".", "args"), out.child(value.keywords)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        func, args, keywords = map(src.child, fields(body, object, object, object))
        if not isinstance(func, (type, *_FUNCTIONS)):  # anything else might be callable without having been checked
            raise Malformed("a partial of something that is no function")
        return functools.partial(func, *args, **keywords)


CODECS: tuple[Codec, ...] = (_Enum(), _NamedTuple(), _DataClass(), _Object(), _Reference(), _Partial())


def _is_simple(cls: type) -> bool:
    """Whether objects of a class are just their attributes: no base is written in C or keeps state elsewhere."""
    bases = cls.__mro__[:-1]
    return all(base.__flags__ & _HEAP for base in bases) and not any(
        "__reduce__" in vars(base) or "__reduce_ex__" in vars(base) or "__setstate__" in vars(base)
        for base in bases
        if not dataclasses.is_dataclass(base)
    )


def _slots(cls: type) -> dict[str, Any]:
    """The slots of a class by the names that its descriptors have."""
    return {
        name: member
        for base in reversed(cls.__mro__)
        for name, member in vars(base).items()
        if isinstance(member, types.MemberDescriptorType)
    }


def _state(value: Any) -> dict[str, Any]:
    state = dict(getattr(value, "__dict__", {}))
    for name, slot in _slots(type(value)).items():
        try:
            state[name] = slot.__get__(value)
        except AttributeError:
            continue  # a slot that was never filled
    return state
