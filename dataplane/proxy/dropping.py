"""A chat stream without the usage that only we asked for: the chunk whose `choices` are empty is taken out.

Clients that did not ask for it may read `choices[0]` of every chunk. It comes behind the reason of the end, so nothing
is held back before that; `"usage": null` in other chunks stays, as all else does.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from dataplane.dialects.dialect import Meter
from dataplane.dialects.scan import UNREADABLE
from dataplane.proxy.cleaning import Cleaner

MOST_HELD: Final = 64 * 1024  # of an event that has not ended; usage has a few hundred bytes
_BLANK: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_USAGE: Final = b'"usage"'


class _Chunk(msgspec.Struct, gc=False):
    choices: list[msgspec.Raw] | None = None
    usage: dict[str, msgspec.Raw] | None = None


_chunk: Final = msgspec.json.Decoder(_Chunk)


class Dropping:
    """A cleaner behind another one. `meter`: hears the answer before it."""

    busy = True  # every read has to pass it

    def __init__(self, inner: Cleaner, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter
        self._held = b""
        self.needle = inner.needle

    def feed(self, body: bytes, *, last: bool) -> bytes:
        body = self._inner.feed(body, last=last)
        if not self._meter.content_ended:
            return body
        text, self._held = self._held + body, b""
        passing, at = [], 0
        for blank in _BLANK.finditer(text):
            if not _is_usage(text[at : blank.start()]):
                passing.append(text[at : blank.end()])
            at = blank.end()
        rest = text[at:]
        if last:
            passing.append(b"" if _is_usage(rest) else rest)
        elif len(rest) <= MOST_HELD:
            self._held = rest
        else:
            passing.append(rest)
        return b"".join(passing)

    def rest(self) -> bytes:
        held, self._held = self._held, b""
        return self._inner.rest() + held


def _is_usage(event: bytes) -> bool:
    """A chunk with usage and without choices."""
    if _USAGE not in event:
        return False
    data = b"\n".join(
        line[5:].removeprefix(b" ") for line in event.replace(b"\r", b"\n").split(b"\n") if line.startswith(b"data:")
    )
    try:
        chunk = _chunk.decode(data)
    except UNREADABLE:
        return False
    return chunk.usage is not None and not chunk.choices
