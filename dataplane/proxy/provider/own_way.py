"""How a provider is asked: as the pool does it, or in its kind's own way.

A kind's own way is a request that is authorized by itself, over its body and the clock, and an answer in a framing that
is made into the dialect's bytes before anybody looks at it. Whoever asks sees no difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from dataplane.providers.kind import BodyDecoder, CannotAuthorize, UnsignedRequest, UpstreamKind
from dataplane.providers.registry import KINDS
from dataplane.providers.upstream import unusable
from dataplane.proxy.http import heads as http1
from dataplane.proxy.http.codings import coding_of
from dataplane.proxy.http.framing import UntilClose
from dataplane.proxy.http.heads import ResponseHead
from dataplane.proxy.limits import Limits
from dataplane.proxy.provider.connection import Response, Unanswered, UpstreamFailure, UpstreamTimeout
from dataplane.proxy.provider.gate import Destination
from dataplane.proxy.provider.pool import Pool

# As `Pool.ask`: destination, method, head, body, what to call when the request is about to be written.
Ask = Callable[[Destination, str, bytes, bytes, Callable[[], None]], Awaitable[Response]]

_REWRITTEN: Final = frozenset({b"content-type", b"content-length", b"transfer-encoding"})


def way_to(pool: Pool, limits: Limits, clock: Callable[[], int], request: UnsignedRequest) -> Ask:
    """`clock`: Unix milliseconds."""
    kind = KINDS[request.provider.kind]
    return pool.ask if kind.plain else OwnWay(pool, kind, request, clock, limits.upstream_waiting_s).ask


class OwnWay:
    """For one remembered head; `patience_s`: how long a kind may take to authorize a request."""

    __slots__ = ("_clock", "_kind", "_patience_s", "_pool", "_request")

    def __init__(
        self, pool: Pool, kind: UpstreamKind, request: UnsignedRequest, clock: Callable[[], int], patience_s: float
    ) -> None:
        self._pool = pool
        self._kind = kind
        self._request = request
        self._clock = clock
        self._patience_s = patience_s

    async def ask(self, to: Destination, method: str, head: bytes, body: bytes, asking: Callable[[], None]) -> Response:
        """Raises UpstreamFailure, or Refusal for a credential that is none."""
        credential = await self._credential(body)
        response = await self._pool.ask(to, method, head[:-2] + credential + b"\r\n", body, asking)
        decoder = self._kind.decoder(response.head.first.get(b"content-type", b""))
        return response if decoder is None else reframed(response, decoder)

    async def _credential(self, body: bytes) -> bytes:
        """Lines of the head."""
        try:
            async with asyncio.timeout(self._patience_s):
                fields = await self._kind.authorize(self._request, body, self._clock)
            return http1.lines(fields) if fields else b""
        except CannotAuthorize as failure:
            raise UpstreamFailure(f"the provider could not be shown its credential: {failure}") from None
        except TimeoutError:
            raise UpstreamTimeout("the provider's credential was not there in time") from None
        except ValueError:
            raise unusable(self._request.provider) from None  # the cause could carry the credential


def reframed(response: Response, decoder: BodyDecoder) -> Response:
    """The same answer in the dialect's own bytes, of a length that nobody knows. Raises UpstreamFailure."""
    if coding_of(response.head):
        response.abort()
        raise Unanswered("the provider compressed an answer in spite of us")
    head = ResponseHead()
    head.status = response.head.status
    for name, value in (*http1.without(response.head.fields, _REWRITTEN), (b"Content-Type", decoder.content_type)):
        head.on_header(name, value)
    outer = Response(Behind(response), head, UntilClose())
    response.relay_to(_Decoding(outer, response, decoder))
    return outer


class Behind:
    """The source of a reframed answer: the answer that it is made from."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Response) -> None:
        self._inner = inner

    def pause(self, response: Response) -> None:
        self._inner.pause()

    def resume(self, response: Response) -> None:
        self._inner.resume()

    def abort(self, response: Response) -> None:
        self._inner.abort()


class _Decoding:
    """The sink between the two."""

    __slots__ = ("_decoder", "_inner", "_outer")

    def __init__(self, outer: Response, inner: Response, decoder: BodyDecoder) -> None:
        self._outer = outer
        self._inner = inner
        self._decoder = decoder

    def received(self, wire: bytes, body: bytes, done: bool) -> None:
        decoder = self._decoder
        decoded = decoder.feed(body)
        if done and not decoder.broken:
            decoded += decoder.end()
        self._outer.received(b"", decoded, done and not decoder.broken)
        if decoder.broken:
            self._inner.abort()
            self._outer.broken(UpstreamFailure("the provider broke the framing of its answer"))

    def broken(self, failure: UpstreamFailure) -> None:
        self._outer.broken(failure)
