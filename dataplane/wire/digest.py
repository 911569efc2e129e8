"""Messages of the fleet together with the bytes that they came in: digests are of resources as they were sent.

Re-serialising would not do: a resource of a newer control plane has fields that we do not know, and maps have no order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from google.protobuf.message import DecodeError

from protos import fleet_pb2 as pb

_UPDATE: Final = pb.FleetMessage.UPDATE_FIELD_NUMBER
_UPSERTS: Final = pb.Update.UPSERTS_FIELD_NUMBER
_ENVELOPE: Final = frozenset({pb.Resource.COVER_FIELD_NUMBER, pb.Resource.NEEDS_FIELD_NUMBER})

Identity = tuple[int, str]  # pb.ResourceKind, also of kinds that this version does not know, and id


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message of a Watch."""

    message: pb.FleetMessage
    raw: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Incoming:
        """Raises protobuf's DecodeError, which ends the stream."""
        return cls(pb.FleetMessage.FromString(raw), raw)

    def resources(self) -> Iterator[bytes]:
        """`message.update.upserts`, each as it was sent."""
        for number, update in _texts(self.raw):
            if number == _UPDATE:
                yield from (content for inner, content in _texts(update) if inner == _UPSERTS)


def fingerprint(resource: bytes) -> int:
    """What one resource adds, by XOR, to the digest of everything held."""
    return int.from_bytes(sha256(resource).digest()[:16], "big")


def identity(resource: pb.Resource, sent: bytes) -> Identity:
    """Kinds are numbered like the fields of Resource, one less; and each has its id in field 1."""
    kind = resource.WhichOneof("resource")
    if kind is not None:
        return pb.Resource.DESCRIPTOR.fields_by_name[kind].number - 1, getattr(resource, kind).id
    return unknown_identity(sent)[:2]


def unknown_identity(sent: bytes) -> tuple[int, str, str]:
    """Kind, id and organization's id of a resource of a kind that this version does not know; 0 and "" for none."""
    for number, content in _texts(sent):
        if number not in _ENVELOPE:
            try:
                body = pb.AnyKind.FromString(content)
            except DecodeError:
                return number - 1, "", ""
            return number - 1, body.id, body.organization_id
    return 0, "", ""


def _texts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a message that protobuf has parsed before, by number."""
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        at += 1
        if tag >= 0x80:
            tag, at = _varint(data, at - 1)
        match tag & 7:
            case 2:
                length = data[at]
                at += 1
                if length >= 0x80:
                    length, at = _varint(data, at - 1)
                yield tag >> 3, data[at : at + length]
                at += length
            case 0:
                _, at = _varint(data, at)
            case 1:
                at += 8
            case 5:
                at += 4
            case _:
                return  # groups: nobody sends them


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    shift = 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
