"""Values of the fold as bytes and back: plain data of named classes, nothing that runs when it is read.

Built-in containers, arrays, integers of any size, and the dataclasses, named tuples, Structs and enums that a codec was
told of. MessagePack underneath; whatever it has no form for is a list that begins with a mark.
"""

import dataclasses
import hashlib
from array import array
from collections.abc import Callable, Mapping
from enum import Enum
from types import ModuleType
from typing import Any

import msgspec

# Marks of what MessagePack can't say by itself.
TUPLE, LIST, DICT, SET, FROZENSET, ARRAY, RECORD, BIG, ENUM = range(9)
_PLAIN = frozenset({type(None), bool, float, str, bytes})
_INT64 = 1 << 63


class Unreadable(Exception):
    """Bytes that no codec of this version wrote."""


class Codec:
    """Freezes and thaws. Only `classes`, by the names they are to have in the bytes, come back as objects."""

    def __init__(self, classes: Mapping[str, type]) -> None:
        self._classes = dict(classes)
        self._names = {cls: name for name, cls in classes.items()}
        self._fields = {cls: _fields_of(cls) for cls in classes.values()}

    @property
    def fingerprint(self) -> str:
        """A hash of what the classes consist of: bytes of another one are of another version."""
        forms = sorted(f"{name} {' '.join(self._fields[cls] or ())}" for name, cls in self._classes.items())
        return hashlib.sha256("\n".join(forms).encode()).hexdigest()

    def dumps(self, value: Any) -> bytes:
        """The value as bytes. Raises TypeError for a class that is not known here."""
        return msgspec.msgpack.encode(self._freeze(value))

    def loads(self, data: bytes) -> Any:
        """What `dumps` was given. Raises Unreadable."""
        try:
            return self._thaw(msgspec.msgpack.decode(data))
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
            raise Unreadable(str(error)) from None

    def _freeze(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is int:
            return value if -_INT64 <= value < _INT64 else [BIG, hex(value)]
        freeze = self._freeze
        if kind in self._fields:
            fields = self._fields[kind]
            if fields is None:
                return [ENUM, self._names[kind], value.value]
            return [RECORD, self._names[kind], *(freeze(getattr(value, name)) for name in fields)]
        if kind is tuple:
            return [TUPLE, *map(freeze, value)]
        if kind is list:
            return [LIST, *map(freeze, value)]
        if kind is dict:
            return [DICT, *(freeze(part) for item in value.items() for part in item)]
        if kind is set or kind is frozenset:
            return [SET if kind is set else FROZENSET, *map(freeze, sorted(value))]
        if kind is array:
            return [ARRAY, value.typecode, value.tobytes()]
        raise TypeError(f"a {kind.__name__} has no frozen form")

    def _thaw(self, value: Any) -> Any:
        if type(value) is not list:
            return value
        thaw: Callable[[Any], Any] = self._thaw
        mark = value[0]
        if mark == RECORD:
            cls = self._classes[value[1]]
            fields = self._fields[cls]
            if fields is None or len(fields) != len(value) - 2:
                raise ValueError(f"a {cls.__name__} of another form")
            return cls(**dict(zip(fields, map(thaw, value[2:]), strict=True)))
        if mark == TUPLE:
            return tuple(map(thaw, value[1:]))
        if mark == LIST:
            return list(map(thaw, value[1:]))
        if mark == DICT:
            parts = map(thaw, value[1:])
            return dict(zip(parts, parts, strict=True))
        if mark == SET:
            return set(map(thaw, value[1:]))
        if mark == FROZENSET:
            return frozenset(map(thaw, value[1:]))
        if mark == ARRAY:
            return array(value[1], value[2])
        if mark == BIG:
            return int(value[1], 16)
        if mark == ENUM:
            return self._classes[value[1]](value[2])
        raise ValueError(f"an unknown mark {mark!r}")


def _fields_of(cls: type) -> tuple[str, ...] | None:
    """The fields that make up a record; None for an enum."""
    if issubclass(cls, Enum):
        return None
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls) if field.init)
    names: tuple[str, ...] = getattr(cls, "_fields", ()) or getattr(cls, "__struct_fields__", ())
    if not names:
        raise ValueError(f"{cls.__name__} is no dataclass, named tuple, Struct or enum")
    return names


def classes_of(*modules: ModuleType) -> dict[str, type]:
    """The records and enums that modules define themselves, by `<module>.<name>`."""
    found = {}
    for module in modules:
        for name, value in sorted(vars(module).items()):
            if isinstance(value, type) and value.__module__ == module.__name__ and _is_record(value):
                found[f"{module.__name__}.{name}"] = value
    return found


def _is_record(cls: type) -> bool:
    if issubclass(cls, Enum) or dataclasses.is_dataclass(cls):
        return True
    return bool(getattr(cls, "_fields", ()) or getattr(cls, "__struct_fields__", ()))
