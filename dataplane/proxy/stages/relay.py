"""The provider's answer to the client: its bytes at the client's pace, while a meter listens.

Where budgets hold, what it costs so far extends the hold ahead of need, or the stream ends.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from dataplane.core.errors import Refusal
from dataplane.dialects.finality import heard_by
from dataplane.dialects.sent import Form, SentSoFar
from dataplane.providers.hygiene import response_fields
from dataplane.providers.upstream import echo_of, is_stream
from dataplane.proxy.answer import Answer, framed
from dataplane.proxy.attempt import Attempt
from dataplane.proxy.channel import Channel
from dataplane.proxy.cleaning import cleaner_of
from dataplane.proxy.client.answer_head import framing, of_theirs
from dataplane.proxy.dropping import Dropping
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http.codings import coding_of
from dataplane.proxy.provider.connection import Response
from dataplane.proxy.provider.first_bytes import streams
from dataplane.proxy.stages.attempt import account_errors

OK: Final = 200


async def relay(attempt: Attempt, response: Response) -> None:
    """Returns when the answer has ended, however. The attempt is settled before the bytes that end it leave."""
    channel = _channel(attempt, response, await _streaming(attempt, response))
    attempt.answering(response.head.status)
    exchange = attempt.exchange
    exchange.answering(channel)
    if not channel.begin():
        with exchange.waiting():
            await channel.ended()


async def _streaming(attempt: Attempt, response: Response) -> bool:
    """Whether the answer is a stream: its head says so, or its first bytes do where a stream was asked for."""
    streaming = is_stream(attempt.candidate.provider, response.head.first.get(b"content-type", b""))
    if streaming or response.head.status != OK or not attempt.inquiry.request.facts.stream:
        return streaming
    with attempt.exchange.waiting():
        return await streams(response, attempt.candidate.waits[0] or attempt.exchange.pod.limits.first_byte_s)


def _channel(attempt: Attempt, response: Response, streaming: bool) -> Channel:
    exchange, inquiry, head = attempt.exchange, attempt.inquiry, response.head
    facts, route, provider = inquiry.request.facts, inquiry.route, attempt.candidate.provider
    echo = echo_of(provider)
    if streaming is not facts.stream:  # not what was asked for
        attempt.meter = route.dialect.meter(route.operation, streaming=streaming, facts=facts)
    form = attempt.meter.form
    if facts.stream and form is Form.WHOLE:
        form = Form.EVENTS
    frame = framed(response, http10=exchange.head.http10)
    fields = response_fields(head.fields, echo)
    looks = []
    for reservation in attempt.reservations:
        fields += reservation.fields(exchange.client.name)
        look = reservation.follow(attempt.meter, exchange.envelope.name, attempt.cost_so_far, attempt.cut)
        if look is not None:
            looks.append(look)
    fields += framing(head, chunked=frame.chunked)
    fields += of_theirs(
        exchange.memo, head, exchange.pod.clock.wall_ms, streaming=streaming or (facts.stream and frame.chunked)
    )
    most_bytes = exchange.pod.limits.body_bytes
    cleaner = cleaner_of(echo, attempt.echoed, response, form, most_bytes)
    if streaming and attempt.asked_usage and not coding_of(head):
        cleaner = Dropping(cleaner, attempt.meter)
    answer = Answer(
        response,
        exchange.head_of(head.status, fields, closes=frame.closes),
        attempt.meter,
        frame.chunked,
        most_bytes,
        streaming=streaming,
        judge=account_errors(attempt) if streaming and head.status == OK else None,
        looks=tuple(looks),
        cleaner=cleaner,
    )
    return Channel(exchange.connection, answer, attempt, partial(_last_words, exchange))


def _last_words(exchange: Exchange, refusal: Refusal, sent: SentSoFar) -> bytes:
    """A refusal as events of the stream, behind what the client has of it."""
    client = exchange.client
    return exchange.envelope.ending(heard_by(client, refusal), client, exchange.identity.request_id, sent)
