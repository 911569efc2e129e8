"""The ends of running streams before their time: what the dialects' words share.

An answer whose money has run out ends legally: our words as text, then the end that the dialect has for "no more
tokens". Every client shows the words and takes the answer as it is, where an error event makes Claude Code ask again
and Gemini CLI show nothing, and a stream that just ends makes opencode loop. What is half said stays half said: a
thinking block lacks its signature and a tool call half its arguments, and closing such a block would have clients send
it back or run it, so it is left open and the words get a block of their own. Any other refusal ends it as an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.sent import Form, Sent, SentSoFar, sent_as


def money_has_run_out(refusal: Refusal) -> bool:
    """The refusal is about a budget: that it is used up, or that nobody can tell."""
    return refusal.code is Code.BUDGET_EXCEEDED or "budget" in refusal.meta


def has_no_room(sent: SentSoFar) -> bool:
    """Nothing can be put behind it: the stream is complete, or it is a plain JSON answer."""
    return sent.at.complete or sent.at.form is Form.WHOLE


def truncated(sent: Sent, end: Callable[[Sent], bytes]) -> bytes:
    """The legal end of `end`, behind an event that is open."""
    if sent.closed is None:
        return end(sent)
    closed = sent_as(type(sent), sent.closed)
    return b"\n\n" if closed.at.complete else b"\n\n" + end(closed)


def boundary(sent: SentSoFar) -> bytes:
    """The end of an event that is open, so that ours is one of its own."""
    return b"\n\n" if sent.at.mid_event else b""


def behind_text(refusal: Refusal, *, text: bool) -> str:
    """Our words, in a paragraph of their own where text stands before them."""
    return f"\n\n{refusal.message}" if text else refusal.message


def named_events(events: Iterable[Mapping[str, object]]) -> bytes:
    """Server-sent events that are called as their type."""
    return b"".join(
        [b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), msgspec.json.encode(event)) for event in events]
    )


def data_event(value: object) -> bytes:
    """A server-sent event without a name."""
    return b"data: %s\n\n" % msgspec.json.encode(value)
