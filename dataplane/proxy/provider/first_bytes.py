"""The kind of an answer whose head does not say what was asked for: its first bytes are waited for, and put back."""

from __future__ import annotations

from dataplane.dialects.first_bytes import ENOUGH, begins_events
from dataplane.proxy.http.codings import coding_of
from dataplane.proxy.provider.refused import Beginning
from dataplane.proxy.provider.response import Response


async def streams(response: Response, patience_s: float) -> bool:
    """Whether it is a stream of events. Of a compressed answer, or one that stays silent, nothing is known: no."""
    if coding_of(response.head):
        return False
    size = 1
    while True:
        beginning = Beginning(response, size, patience_s)
        body = await beginning.read()
        decision = begins_events(body)
        if decision is not None or beginning.whole or not size <= len(body) < ENOUGH:
            return bool(decision)
        size = len(body) + 1
