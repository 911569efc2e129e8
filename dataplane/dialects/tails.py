"""An event, or an answer, that is too large to be read whole: its beginning and its end, and the figures in them."""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

HEAD_BYTES: Final = 2 * 1024  # where most say their kind and their model
TAIL_BYTES: Final = 64 * 1024

_NAMED: Final = re.compile(rb'"(model|modelVersion|service_tier)"\s*:\s*"([ !#-\[\]-~]{1,200})"')


class Remnant(bytes):
    """The last TAIL_BYTES of an event. `head`: its first HEAD_BYTES; `size`: bytes of all of it."""

    head: bytes
    size: int

    @classmethod
    def of(cls, head: bytes, tail: bytes, size: int) -> Remnant:
        cut = cls(tail)
        cut.head, cut.size = head, size
        return cut

    @classmethod
    def from_whole(cls, payload: bytes) -> Remnant:
        return cls.of(payload[:HEAD_BYTES], payload[-TAIL_BYTES:], len(payload))


def figures_of(head: bytes, tail: bytes) -> bytes:
    """A small body with the usage object that stands near the end of a large one, and the model and service tier that
    it names; empty without a usage object."""
    text = tail.decode("utf-8", "replace")
    for key in ("usageMetadata", "usage"):
        at = text.rfind(f'"{key}"')
        opening = text.find("{", at) if at >= 0 else -1
        if opening >= 0:
            try:
                usage, _ = json.JSONDecoder().raw_decode(text, opening)
            except (ValueError, RecursionError):
                continue
            # What stands first at the beginning is the answer's own; else what stands last at the end.
            names = [*_NAMED.findall(tail, max(len(tail) - HEAD_BYTES, 0)), *reversed(_NAMED.findall(head))]
            named = {name.decode(): value.decode() for name, value in names}
            return msgspec.json.encode({**named, key: usage})
    return b""
