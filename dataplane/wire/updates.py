"""Updates of a configuration together with the bytes of their resources: digests are of resources as they were sent.

Re-serialising would not do: a resource of a newer control plane has fields that we do not know, and maps have no order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from dataplane.wire.protobuf import delimited, tag, varint
from protos import fleet_pb2 as pb

_UPDATE: Final = pb.FleetMessage.UPDATE_FIELD_NUMBER
_UPSERTS: Final = pb.Update.UPSERTS_FIELD_NUMBER
_ENVELOPE: Final = frozenset({pb.Resource.COVER_FIELD_NUMBER, pb.Resource.NEEDS_FIELD_NUMBER})

# Tags of what an Update consists of.
REVOCATION: Final = tag(pb.Update.REVOCATIONS_FIELD_NUMBER)
UPSERT: Final = tag(_UPSERTS)
REMOVED: Final = tag(pb.Update.REMOVED_FIELD_NUMBER)
_UPDATE_TAG: Final = tag(_UPDATE)

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
        for number, update in delimited(self.raw):
            if number == _UPDATE:
                yield from (content for inner, content in delimited(update) if inner == _UPSERTS)


def framed(header: pb.Update, items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """`FleetMessage(update=…)` with these (tag, content): resources go out as they are held."""
    pieces = [header.SerializeToString()]
    for kind, content in items:
        pieces += (kind, varint(len(content)), content)
    body = b"".join(pieces)
    return b"".join((_UPDATE_TAG, varint(len(body)), body))


def identity(resource: pb.Resource, sent: bytes) -> Identity:
    """Kinds are numbered like the fields of Resource, one less; and each has its id in field 1."""
    kind = resource.WhichOneof("resource")
    if kind is not None:
        return pb.Resource.DESCRIPTOR.fields_by_name[kind].number - 1, getattr(resource, kind).id
    return unknown_identity(sent)[:2]


def unknown_identity(sent: bytes) -> tuple[int, str, str]:
    """Kind, id and organization's id of a resource of a kind that this version does not know; 0 and "" for none."""
    for number, content in delimited(sent):
        if number not in _ENVELOPE:
            try:
                body = pb.AnyKind.FromString(content)
            except DecodeError:
                return number - 1, "", ""
            return number - 1, body.id, body.organization_id
    return 0, "", ""
