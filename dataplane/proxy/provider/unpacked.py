"""A provider's error that is compressed, though we asked for no coding: as it came, unless it has to be covered.

Then it leaves uncompressed. One that cannot be looked into does not leave at all.
"""

from __future__ import annotations

import asyncio
from typing import Final

from dataplane.providers.echo import Echo
from dataplane.proxy.cleaning import ErrorBody
from dataplane.proxy.http import heads as http1
from dataplane.proxy.http.codings import Decoder, Malformed, TooLarge, coding_of
from dataplane.proxy.http.framing import Length
from dataplane.proxy.http.heads import ResponseHead
from dataplane.proxy.provider.connection import Response, UpstreamFailure
from dataplane.proxy.provider.own_way import Behind
from dataplane.proxy.provider.refused import Beginning

MOST_BYTES: Final = 256 * 1024  # compressed; errors have a few hundred
_UNPACKED_BYTES: Final = 128 * 1024
_SLICE: Final = 16 * 1024  # looked into in one turn of the loop: 1 ms at the worst
PATIENCE_S = 10.0
_REWRITTEN: Final = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


async def readable(response: Response, echo: Echo) -> tuple[Response, bool]:
    """The answer to pass on, and whether something was covered in it. Raises UpstreamFailure."""
    coding = coding_of(response.head)
    if not coding:
        return response, False
    beginning = Beginning(response, MOST_BYTES, PATIENCE_S)
    packed = await beginning.read()
    if not packed and beginning.whole:
        return response, False
    try:
        if not beginning.whole:
            raise TooLarge
        plain, covered = await _looked_into(packed, coding, echo)
    except (KeyError, TooLarge, Malformed):
        response.abort()
        raise UpstreamFailure("the provider's error is compressed in a way that cannot be looked into") from None
    except asyncio.CancelledError:
        response.abort()
        raise
    if covered == plain:
        return response, False
    response.abort()
    return _instead_of(response, covered), True


async def _looked_into(packed: bytes, coding: bytes, echo: Echo) -> tuple[bytes, bytes]:
    """Its decoded form, and that with the credential covered; a slice per turn of the loop."""
    decoder, cleaner = Decoder(coding, _UNPACKED_BYTES), ErrorBody(echo, lambda covered: None)
    pieces, clean = list[bytes](), list[bytes]()
    for piece in decoder.steps(packed):
        for at in range(0, len(piece), _SLICE):
            slice_ = piece[at : at + _SLICE]
            pieces.append(slice_)
            clean.append(cleaner.feed(slice_, last=False))
            if len(pieces) > 1:
                await asyncio.sleep(0)
    if not decoder.finished:
        raise Malformed
    return b"".join(pieces), b"".join((*clean, cleaner.rest()))


def _instead_of(response: Response, body: bytes) -> Response:
    head = ResponseHead()
    head.status = response.head.status
    length = (b"Content-Length", b"%d" % len(body))
    for name, value in (*http1.without(response.head.fields, _REWRITTEN), length):
        head.on_header(name, value)
    outer = Response(Behind(response), head, Length(len(body)))
    outer.received(b"", body, True)
    return outer
