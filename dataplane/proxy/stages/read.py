"""The request's body: taken in whole, decoded if it was compressed, scanned once; a large one in turns with others."""

from __future__ import annotations

from collections.abc import Generator

from dataplane.core.errors import Refusal
from dataplane.dialects.clients import CURSOR, shown_by_its_body
from dataplane.dialects.dialect import RequestFacts
from dataplane.dialects.registry import Route
from dataplane.dialects.survey import LARGE, survey
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http.codings import decode_request
from dataplane.proxy.inquiry import Request
from dataplane.proxy.limits import Limits


async def read(exchange: Exchange, route: Route, limits: Limits) -> Request:
    """Raises Refusal, or ProtocolError for a body whose framing is broken."""
    connection, record = exchange.connection, exchange.records.current
    if not connection.body_is_here:
        with exchange.waiting():
            await connection.body_comes()
    coding = exchange.head.first.get(b"content-encoding")
    try:
        if coding or connection.body_bytes > LARGE:
            facts, sent, body = await exchange.pod.turns.take(record.key_id, _in_steps(exchange, route, limits))
        else:
            sent = body = connection.take_body()
            facts = route.dialect.read_request(route.operation, route.path_model, body)
            record.request_bytes = len(sent)
    except Refusal as refusal:
        if refusal.meta.get("client") == CURSOR:
            exchange.shown(shown_by_its_body(exchange.client))
        raise
    if facts.session:
        exchange.shown(exchange.memo.client_with(facts))
    record.model_requested, record.streaming = facts.model, facts.stream
    record.estimated_input_tokens = facts.input_tokens_estimate
    return Request(facts, sent, body)


def _in_steps(
    exchange: Exchange, route: Route, limits: Limits
) -> Generator[None, None, tuple[RequestFacts, bytes, bytes]]:
    """The facts, the body as it was sent, and its decoded form."""
    sent = exchange.connection.take_body()
    exchange.records.current.request_bytes = len(sent)
    body = yield from decode_request(
        sent,
        exchange.head.get(b"content-encoding"),
        cap=limits.body_bytes,
        ratio=limits.body_ratio,
        grows=lambda size: exchange.reserve_memory(len(sent) + size),
    )
    shown, large = body, len(body) > LARGE
    if large:
        yield
        shown = yield from survey(body)
    return route.dialect.read_request(route.operation, route.path_model, shown, surveyed=large), sent, body
