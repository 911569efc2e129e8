"""What names an exchange: our request id, the W3C trace context that it continues or begins, and the client's own name
for it, which is repeated to it and means nothing to us."""

from __future__ import annotations

import re
from typing import NamedTuple

from dataplane.core.keys import MARK

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE = b"0" * 32
_NO_SPAN = b"0" * 16
# A client's name for its request: what uuids, ulids, counters and paths are made of.
_CLIENTS_ID = re.compile(rb"[A-Za-z0-9._~:/+=@,|-]{1,128}")


class Parent(NamedTuple):
    """The span that a client began; ids are lower-case hexadecimal."""

    trace_id: str
    span_id: str
    flags: str


NO_PARENT = Parent("", "", "01")


class Identity(NamedTuple):
    """`request_id` is the id of the usage record; ids of the trace are lower-case hexadecimal."""

    request_id: str
    trace_id: str
    span_id: str
    parent_span_id: str  # "" when the trace begins here
    flags: str

    def lines(self, version: str) -> bytes:
        """Header lines of every response, errors included."""
        request_id, trace_id, span_id, _, flags = self
        return (
            f"X-Langwatch-Request-Id: {request_id}\r\nX-Langwatch-Gateway-Request-Id: {request_id}\r\n"
            f"X-Langwatch-Trace-Id: {trace_id}\r\nX-Langwatch-Span-Id: {span_id}\r\n"
            f"X-Langwatch-Gateway-Version: {version}\r\ntraceparent: 00-{trace_id}-{span_id}-{flags}\r\n"
        ).encode("latin-1")


def clients_id(value: bytes) -> bytes:
    """What `X-Request-Id` said, when it can be repeated; else nothing. Never a key of ours that went astray."""
    return value if _CLIENTS_ID.fullmatch(value) is not None and MARK not in value.lower() else b""


def mint(request_id: str, random: str, parent: Parent) -> Identity:
    """`random`: 48 hexadecimal digits, for the trace that begins here, or this span of it."""
    trace_id, parent_span_id, flags = parent
    return Identity(request_id, trace_id or random[:32], random[32:], parent_span_id, flags)


def parse_traceparent(value: bytes) -> Parent | None:
    """None for anything that W3C Trace Context tells us to ignore."""
    match = _TRACEPARENT.fullmatch(value.strip())
    if match is None or match[1] == b"ff" or match[2] == _NO_TRACE or match[3] == _NO_SPAN:
        return None
    if match[1] == b"00" and match[5] is not None:
        return None
    return Parent(match[2].decode(), match[3].decode(), f"{int(match[4], 16) & 1:02x}")
