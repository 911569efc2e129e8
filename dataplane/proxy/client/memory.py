"""What follows from a request's head alone, and the memory of it: a client's heads repeat to the byte.

On one connection they differ, as a rule, in their Content-Length and nothing else. A head that came before is neither
parsed nor judged again, and what the stages worked out from it stands ready (a 2 KB request costs half as much).
Only the connection holds it: the memory goes when the connection does, and with it the credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from dataplane.core.authenticate import Authenticated
from dataplane.core.routing import Candidate
from dataplane.core.secret import Secret
from dataplane.core.snapshot import Snapshot
from dataplane.dialects import clients
from dataplane.dialects.dialect import Client, RequestFacts
from dataplane.dialects.registry import Route
from dataplane.proxy.client.identity import NO_PARENT, clients_id, parse_traceparent
from dataplane.proxy.http import heads as http1
from dataplane.proxy.http.heads import HeadBounds, RequestHead
from dataplane.proxy.provider.gate import Destination
from dataplane.proxy.provider.own_way import Ask

# A CLI alternates between two or three heads (messages, token counts); balancers mix clients on one connection.
_HEADS: Final = 4
_HEAD_BYTES: Final = 4096
_MODELS: Final = 8  # a CLI uses two or three on one connection

_SPELLINGS: Final = (b"\r\ncontent-length: ", b"\r\nContent-Length: ")
_DIGITS: Final = 18

UNKNOWN_CLIENT: Final = Client(name="other", version="", session="")


class Admitted:
    """A credential that was found good: in which snapshot, under which peppers, and until when (0: no end).

    `candidates`: where that snapshot leads the key's requests, by the client's name for the model.
    """

    __slots__ = ("bound_ms", "candidates", "key", "peppers", "public_id", "snapshot", "until_ms")

    def __init__(
        self,
        snapshot: Snapshot,
        peppers: Mapping[int, Secret],
        authenticated: Authenticated,
        bound_ms: int,
    ) -> None:
        self.snapshot = snapshot
        self.peppers = peppers
        self.key, self.public_id, self.until_ms = authenticated
        self.bound_ms = bound_ms  # how old the configuration may be
        self.candidates: dict[str, Candidate] = {}

    def still_valid(self, snapshot: Snapshot, peppers: Mapping[int, Secret], now_ms: int) -> bool:
        return self.snapshot is snapshot and self.peppers is peppers and (not self.until_ms or now_ms < self.until_ms)


class Sent(msgspec.Struct, frozen=True, gc=False):
    """The head of a request as one provider gets it, up to its Content-Length.

    `unpacked`: the body came in a content coding and is sent without it. `ask`: the way of its kind.
    """

    candidate: Candidate
    unpacked: bool
    destination: Destination
    head: bytes
    kind: str
    billed: bool
    ask: Ask


class HeadMemo:
    """A head, and what was worked out from it; each field below is filled in by the stage that needs it first."""

    __slots__ = (
        *("admitted", "client", "head", "labels", "names", "own_id", "parent", "path", "query", "route", "sent"),
    )

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        path, _, query = head.target.partition(b"?")
        self.path, self.query = path.decode(), query.decode()
        traceparent = head.first.get(b"traceparent")
        self.parent = NO_PARENT if traceparent is None else parse_traceparent(traceparent) or NO_PARENT
        own_id = head.first.get(b"x-request-id")
        self.own_id = b"" if own_id is None else clients_id(own_id)  # what the client calls this request
        self.route: Route | None = None
        self.names = ("", "")  # dialect and operation
        self.client = UNKNOWN_CLIENT
        self.admitted: Admitted | None = None
        self.labels: tuple[str, tuple[str, ...], str] | None = None  # end user, tags, metadata
        self.sent: dict[tuple[int, bool], Sent] = {}

    def client_with(self, facts: RequestFacts) -> Client:
        """Who asks, with the session that only the body names; that repeats, too."""
        if self.client.session != facts.session and self.route is not None:
            self.client = clients.detect(self.head.first, facts, self.route.prefix)
        return self.client

    def candidate(self, snapshot: Snapshot, model: str) -> Candidate | None:
        """Who answered the client's name for the model ("": it named none) when it was asked for last."""
        admitted = self.admitted
        return admitted.candidates.get(model) if admitted is not None and admitted.snapshot is snapshot else None

    def remember_candidate(self, snapshot: Snapshot, model: str, candidate: Candidate) -> None:
        admitted = self.admitted
        if admitted is not None and admitted.snapshot is snapshot:
            if len(admitted.candidates) >= _MODELS:
                admitted.candidates.clear()
            admitted.candidates[model] = candidate

    def was_sent(self, candidate: Candidate, unpacked: bool) -> Sent | None:
        sent = self.sent.get((id(candidate), unpacked))
        return sent if sent is not None and sent.candidate is candidate else None

    def remember_sent(self, sent: Sent) -> None:
        if len(self.sent) >= _MODELS:
            self.sent.clear()
        self.sent[id(sent.candidate), sent.unpacked] = sent


NO_HEAD: Final = HeadMemo(RequestHead())  # of what never became a request


class HeadMemory:
    """The last few heads of one connection, by their bytes without the Content-Length line."""

    __slots__ = ("_bounds", "_memos")

    def __init__(self, bounds: HeadBounds) -> None:
        self._bounds = bounds
        self._memos: dict[tuple[bytes, bool], HeadMemo] = {}

    def read(self, block: bytes) -> tuple[HeadMemo, int]:
        """The head in `block` and the length that it declares (0: none). Raises ProtocolError."""
        rest, length = _without_length(block)
        declares = length >= 0
        memo = self._memos.get((rest, declares))
        if memo is not None and len(block) <= self._bounds.bytes:
            return memo, length if declares else 0
        head = http1.parse_request(block, self._bounds)
        declared = head.first.pop(b"content-length", None)
        memo = HeadMemo(head)
        # The line that was taken out is the only one of its name, or nothing of that name is in it.
        if (declared is not None) is declares and len(rest) <= _HEAD_BYTES:
            good = {key: memo for key, memo in self._memos.items() if memo.admitted is not None}
            self._memos = good if len(good) < _HEADS else {}  # who was not let in is remembered until the next head
            self._memos[rest, declares] = memo
        return memo, int(declared) if declared is not None else 0


def _without_length(block: bytes) -> tuple[bytes, int]:
    """The head without its Content-Length line, and what that said; -1 when there is none, in the usual form."""
    for spelling in _SPELLINGS:
        start = block.find(spelling)
        if start >= 0:
            at = start + len(spelling)
            end = block.find(b"\r\n", at)
            digits = block[at:end]
            if digits.isdigit() and len(digits) <= _DIGITS:
                return block[:start] + block[end:], int(digits)
    return block, -1
