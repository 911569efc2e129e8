"""The head of an answer: fields of ours, how its body is framed, and whether the connection goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from urllib.parse import quote

from dataplane.proxy.client.memory import HeadMemo
from dataplane.proxy.http import heads as http1
from dataplane.proxy.http.heads import Field, ResponseHead

_CHUNKED: Field = (b"Transfer-Encoding", b"chunked")
_X_REQUEST_ID = b"x-request-id"
_AS_IT_COMES: Field = (b"X-Accel-Buffering", b"no")  # nginx, which eats it, would hold a stream back for seconds


def framing(head: ResponseHead, *, chunked: bool) -> Sequence[Field]:
    """How the client will know where the provider's body ends."""
    if chunked:
        return (_CHUNKED,)
    length = head.first.get(b"content-length")
    return () if length is None else ((b"Content-Length", length),)


def of_ours(memo: HeadMemo, request_id: str, body: bytes) -> Sequence[Field]:
    """Of an answer that no provider wrote.

    As SDKs look for the id: Anthropic's in the first field, OpenAI's in the second, where a client's own name goes
    before.
    """
    ours = request_id.encode()
    length = (b"Content-Length", b"%d" % len(body))
    return (b"request-id", ours), (_X_REQUEST_ID, memo.own_id or ours), length


def of_theirs(memo: HeadMemo, head: ResponseHead, wall_ms: Callable[[], int], *, streaming: bool) -> list[Field]:
    """What a provider's answer lacks: the date, the client's own name for the request, and of a stream what keeps
    proxies in front from gathering it."""
    fields = [] if b"date" in head.first else [http1.date(wall_ms() // 1000)]
    if streaming:
        fields.append(_AS_IT_COMES)
    if memo.own_id and _X_REQUEST_ID not in head.first:
        fields.append((_X_REQUEST_ID, memo.own_id))
    return fields


def provider_request_id(head: ResponseHead) -> str:
    """The provider's name for the request."""
    first = head.first
    return (first.get(b"request-id") or first.get(_X_REQUEST_ID, b""))[:200].decode("latin-1")


@lru_cache(maxsize=1024)
def answered_by(provider: str, model: str, before: int) -> bytes:
    """Header lines that name the attempt; `before`: how many came before it."""
    return http1.lines(
        [
            (b"X-Langwatch-Provider", _printable(provider)),
            (b"X-Langwatch-Model", _printable(model)),
            (b"X-Langwatch-Fallback-Count", b"%d" % before),
        ]
    )


def _printable(value: str) -> bytes:
    """Names that admins and clients chose, fit for a header."""
    return (value if value.isascii() and value.isprintable() else quote(value, safe="/:@")).encode()
