"""A stream or one JSON answer: decided by the first bytes, where a head says nothing true about it."""

from __future__ import annotations

from typing import Final

from dataplane.dialects.sse import BLANK

# How a server-sent event, or a comment, begins (WHATWG HTML §9.2.5).
_FIELDS: Final = (b"data", b"event", b"id", b"retry", b":")
ENOUGH: Final = 64  # bytes behind which nothing is undecided


def begins_events(beginning: bytes) -> bool | None:
    """True: server-sent events; False: something else; None: it cannot be told yet."""
    text = beginning.lstrip(BLANK)
    for field in _FIELDS:
        if text.startswith(field):
            rest = text[len(field) : len(field) + 1]
            if field == b":" or rest in (b":", b"\n", b"\r"):
                return True
            if not rest:
                return None
        elif field.startswith(text):
            return None
    return False
