"""The request's body: taken in whole, decoded if it was compressed, scanned once."""

from __future__ import annotations

from dataplane.core.errors import Refusal
from dataplane.dialects.clients import CURSOR, shown_by_its_body
from dataplane.dialects.registry import Route
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http.codings import decode_request
from dataplane.proxy.inquiry import Request
from dataplane.proxy.limits import Limits


async def read(exchange: Exchange, route: Route, limits: Limits) -> Request:
    """Raises Refusal, or ProtocolError for a body whose framing is broken."""
    connection = exchange.connection
    if connection.body_is_here:
        sent = connection.take_body()
    else:
        with exchange.waiting():
            sent = await connection.body()
    record = exchange.records.current
    record.request_bytes = len(sent)
    coding = exchange.head.first.get(b"content-encoding")
    body = decode_request(sent, coding, cap=limits.body_bytes, ratio=limits.body_ratio) if coding else sent
    if body is not sent:
        exchange.reserve_memory(len(sent) + len(body))
    try:
        facts = route.dialect.read_request(route.operation, route.path_model, body)
    except Refusal as refusal:
        if refusal.meta.get("client") == CURSOR:
            exchange.shown(shown_by_its_body(exchange.client))
        raise
    if facts.session:
        exchange.shown(exchange.memo.client_with(facts))
    record.model_requested, record.streaming = facts.model, facts.stream
    record.estimated_input_tokens = facts.input_tokens_estimate
    return Request(facts, sent, body)
