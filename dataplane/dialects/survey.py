"""A large body, gone over in slices before it is read in one piece: what would take too long is refused in words.

msgspec reads 30 MB of text in 10 ms and holds the interpreter for as long, so what it reads is bounded first: by the
number of values, since each takes 10 to 30 ns whatever its size, and by half characters, each of which is replaced.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Final

from dataplane.core.errors import Code, Refusal
from dataplane.dialects import scan
from dataplane.dialects.halves import end_of_slice, whole_characters

LARGE: Final = 256 * 1024  # bytes; a body up to here is read at once: 10 ms at the worst, 0.1 ms as a rule
SLICE: Final = 128 * 1024  # 5 ms at the worst, 0.02 ms as a rule
_CLOSE: Final = 64 * 1024  # of a slice whose strings are taken out: 3 ms at the worst
_COUNTED: Final = scan.MAX_REST  # a shorter body cannot hold so many values that they take 10 ms
# A request for embeddings may hold 300,000 tokens as numbers, the longest conversation of a CLI has 20,000 blocks.
MAX_VALUES: Final = 500_000
MAX_HALVES: Final = 65_536  # a program that cuts text by UTF-16 units writes two per message

_MARKS: Final = (b"{", b"[", b",")

Survey = Generator[None, None, bytes]


def survey(body: bytes) -> Survey:
    """Yields after each slice; returns the body to look at, of the same length. Raises Refusal(BAD_REQUEST)."""
    pieces: list[bytes] = []  # none, as long as nothing is to be replaced
    at = halves = marks = 0
    while at < len(body):
        end = end_of_slice(body, at, SLICE)
        piece, count = whole_characters(body[at:end])
        if count:
            pieces = pieces or [body[:at]]
            halves += count
            if halves > MAX_HALVES:
                raise Refusal(Code.BAD_REQUEST, f"the request body has more than {MAX_HALVES} halves of characters")
        if pieces:
            pieces.append(piece)
        if len(body) > _COUNTED:
            marks += _marks(piece)
        at = end
        yield
    if pieces:
        body = b"".join(pieces)
        pieces.clear()
    if marks > MAX_VALUES:  # or so it seems: most of them may stand in texts
        yield from _counted(body)
    if len(body) > scan.MAX_REST:
        try:
            scan.refuse_a_large_rest(body)
        except scan.UNREADABLE as failure:
            raise scan.unreadable(failure) from failure
        yield
    return body


def _counted(body: bytes) -> Iterator[None]:
    """The values, without what only looks like some in strings."""
    values = at = 0
    inside = False
    while at < len(body):
        end = end_of_slice(body, at, _CLOSE)
        parts = body[at:end].replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(parts[inside::2])
        values += _marks(outside)
        if values > MAX_VALUES:
            words = f"the request body has more than {MAX_VALUES} values, counting objects, lists and what is in them"
            raise Refusal(Code.BAD_REQUEST, words)
        inside ^= len(parts) % 2 == 0
        at = end
        yield


def _marks(text: bytes) -> int:
    """What stands in front of a value. (`count` looks at every byte; this, five times as fast, searches.)"""
    return sum([len(text) - len(text.replace(mark, b"")) for mark in _MARKS])
