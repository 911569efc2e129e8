"""A provider's error that is compressed, though we asked for no coding: as it came, unless it has to be covered.

Then it leaves uncompressed. One that cannot be looked into does not leave at all.
"""

from __future__ import annotations

from typing import Final

from dataplane.providers.echo import Echo
from dataplane.proxy.http import heads as http1
from dataplane.proxy.http.codings import Decoder, Malformed, TooLarge, coding_of
from dataplane.proxy.http.framing import Length
from dataplane.proxy.http.heads import ResponseHead
from dataplane.proxy.provider.connection import Response, UpstreamFailure
from dataplane.proxy.provider.own_way import Behind
from dataplane.proxy.provider.refused import Beginning

MOST_BYTES: Final = 256 * 1024  # compressed; errors have a few hundred
_UNPACKED_BYTES: Final = 1024 * 1024
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
        plain = _plain(packed, coding) if beginning.whole else None
    except (KeyError, TooLarge, Malformed):
        plain = None
    if plain is None:
        response.abort()
        raise UpstreamFailure("the provider's error is compressed in a way that cannot be looked into")
    covered = echo.cover(plain)
    if covered is plain:
        return response, False
    response.abort()
    return _instead_of(response, covered), True


def _plain(packed: bytes, coding: bytes) -> bytes:
    decoder = Decoder(coding, _UNPACKED_BYTES)
    plain = decoder.feed(packed)
    if not decoder.finished:
        raise Malformed
    return plain


def _instead_of(response: Response, body: bytes) -> Response:
    head = ResponseHead()
    head.status = response.head.status
    length = (b"Content-Length", b"%d" % len(body))
    for name, value in (*http1.without(response.head.fields, _REWRITTEN), length):
        head.on_header(name, value)
    outer = Response(Behind(response), head, Length(len(body)))
    outer.received(b"", body, True)
    return outer
