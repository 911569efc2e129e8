"""Ids of requests: `req_`, 48 bits of milliseconds, 48 bits that say which spool's they are, and a number of 24 bits.

Sortable, unique, never chosen by a client; and nobody else's. A pod that learns another's id can name it, but not show
that it made it: who made it is a digest of the session under which its spool is reported, and no two pods report one.
"""

from __future__ import annotations

import hashlib
import itertools

_DIGITS = 12
_AT = len("req_") + _DIGITS
_LENGTH = _AT + _DIGITS + 6


class RequestIds:
    """Of one process. `session_id`: its spool's; `first`: the number to begin with."""

    def __init__(self, session_id: str, first: int) -> None:
        self._maker = _maker(session_id)
        self._numbers = itertools.count(first)

    def make(self, now_ms: int) -> str:
        return f"req_{now_ms & 0xFFFFFFFFFFFF:012x}{self._maker}{next(self._numbers) & 0xFFFFFF:06x}"


def was_made_in(request_id: str, session_id: str) -> bool:
    """Never true of what an older pod made, whose ids were random there."""
    return len(request_id) == _LENGTH and request_id[_AT : _AT + _DIGITS] == _maker(session_id)


def _maker(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()[:_DIGITS]
