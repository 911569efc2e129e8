"""Spans, encoded by hand: opentelemetry-proto's own objects cost several times as much.

A Span's head and its `repeated KeyValue attributes = 9`; the rest of a request is made of the generated messages.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from dataplane.wire.protobuf import Numbers, message, varint

Value = str | int | float | bool | Sequence[str]

_ATTRIBUTES: Final = 9  # of a Span; KeyValue: key = 1, value = 2
_STRING: Final = b"\x0a"  # AnyValue.string_value = 1
_BOOL: Final = b"\x10"  # AnyValue.bool_value = 2
_INT: Final = b"\x18"  # AnyValue.int_value = 3
_DOUBLE: Final = b"\x21"  # AnyValue.double_value = 4
_ARRAY: Final = 5  # AnyValue.array_value; ArrayValue.values = 1
_DOUBLE_BYTES: Final = struct.Struct("<d")


def attributes(values: Mapping[str, Value]) -> bytes:
    """Empty texts and lists say nothing and are left out; zeros are said."""
    return b"".join([_attribute(key, _any(value)) for key, value in values.items() if value not in ("", ())])


def _attribute(key: str, value: bytes) -> bytes:
    return message(_ATTRIBUTES, message(1, key.encode()) + message(2, value))


def _any(value: Value) -> bytes:
    if isinstance(value, str):
        return message(1, value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return _BOOL + (b"\x01" if value else b"\x00")
    if isinstance(value, int):
        return _INT + varint(value)
    if isinstance(value, float):
        return _DOUBLE + _DOUBLE_BYTES.pack(value)
    return message(_ARRAY, b"".join([message(1, _any(text)) for text in value]))


class Text:
    """The attribute of one name, with a text; an empty one is left out."""

    __slots__ = ("_heads", "_key")

    def __init__(self, key: str) -> None:
        self._key = key
        self._heads = [_attribute(key, _STRING + varint(size) + b"x" * size)[:-size] for size in range(1, 100)]
        self._heads.insert(0, b"")

    def encode(self, text: str) -> bytes:
        data = text.encode("utf-8", "replace")
        size = len(data)
        return self._heads[size] + data if size < 100 else _attribute(self._key, message(1, data))


def number(key: str) -> Numbers:
    """Attributes of one name with an integer, by the integer."""
    return Numbers([b"", *(_attribute(key, _INT + b"x" * size)[:-size] for size in range(1, 11))])


def double_head(key: str) -> bytes:
    """What stands before the eight bytes of an attribute with a double."""
    return _attribute(key, _DOUBLE + bytes(8))[:-8]
