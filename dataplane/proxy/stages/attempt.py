"""One try against one provider: the request as the provider gets it, sent once it is on record; its answer's head.

What refuses the organization itself is said in our words, and so is a count of tokens that the provider does not make.
"""

from __future__ import annotations

from dataplane.dialects.dialect import BILLED
from dataplane.providers.kind import UnsignedRequest
from dataplane.providers.upstream import echo_of, upstream_request, wire_model
from dataplane.proxy import local_answers
from dataplane.proxy.attempt import Attempt
from dataplane.proxy.cleaning import ERRORS
from dataplane.proxy.client.answer_head import provider_request_id
from dataplane.proxy.client.memory import Sent
from dataplane.proxy.http import heads as http1
from dataplane.proxy.last_look import last_look
from dataplane.proxy.provider.connection import Response
from dataplane.proxy.provider.gate import Destination
from dataplane.proxy.provider.own_way import way_to
from dataplane.proxy.provider.refused import SUSPECT, AccountErrors, refused_by
from dataplane.proxy.provider.strict import refuses_stream_options
from dataplane.proxy.provider.unpacked import readable

_CONTENT_ENCODING = frozenset({b"content-encoding"})
_BODILESS = ("GET", "DELETE")


async def attempt(one: Attempt) -> Response | None:
    """The answer to pass on; None: the client has got one of ours instead. Raises Refusal before the provider is
    reached, UpstreamFailure when it cannot be or does not answer."""
    exchange, inquiry = one.exchange, one.inquiry
    request = inquiry.request
    if exchange.pod.configuration.snapshot is not inquiry.snapshot:
        last_look(exchange, inquiry, one.candidate)  # before anybody is connected for nothing
    asks_usage = _asks_usage(one)
    to, head, body = _prepared(one, asks_usage)
    one.admit(to.kind, billed=to.billed)
    with exchange.waiting():
        response = await to.ask(to.destination, exchange.head.method, head, body, one.asking)
        if asks_usage and await refuses_stream_options(response):
            # It has looked at no more than the fields: once more without the one that only we had set.
            exchange.pod.strict.learn(one.candidate.provider.id)
            asks_usage = False
            to, head, body = _prepared(one, asks_usage)
            response = await to.ask(to.destination, exchange.head.method, head, body, one.asking)
    one.asked_usage = asks_usage
    one.heard(response.head.status)
    one.record.provider_request_id = provider_request_id(response.head)
    if local_answers.count_instead(one, response):
        return None
    request.forget_body()
    exchange.reserve_memory(0)
    if response.head.status in SUSPECT:
        del head, body  # a provider that takes its time with an error need not hold them
        if await _refused(one, response):
            return None
    if response.head.status >= ERRORS:
        with exchange.waiting():
            response, covered = await readable(response, echo_of(one.candidate.provider))
        if covered:
            one.echoed(covered)
    return response


def _asks_usage(attempt: Attempt) -> bool:
    """Whether the provider is asked for usage that the client did not ask for."""
    facts, provider = attempt.inquiry.request.facts, attempt.candidate.provider
    if facts.usage_splice is None or provider.no_stream_options:
        return False
    return provider.id not in attempt.exchange.pod.strict


def _prepared(attempt: Attempt, asks_usage: bool) -> tuple[Sent, bytes, bytes]:
    """Where it goes, its whole head, its body."""
    exchange, request = attempt.exchange, attempt.inquiry.request
    body = _body(attempt, asks_usage)
    unpacked = request.sent is not request.body and body is not request.sent
    to = exchange.memo.was_sent(attempt.candidate, unpacked) or _head(attempt, unpacked)
    has_length = bool(body) or exchange.head.method not in _BODILESS
    return to, to.head + (b"Content-Length: %d\r\n\r\n" % len(body) if has_length else b"\r\n"), body


def _body(attempt: Attempt, asks_usage: bool) -> bytes:
    """As this provider gets it: what the client sent, compressed or not, unless something of it is to be changed."""
    request = attempt.inquiry.request
    facts = request.facts
    body = attempt.inquiry.route.dialect.rewrite(
        request.body,
        facts,
        model=wire_model(attempt.candidate) if facts.model else "",
        include_usage=asks_usage,
    )
    return request.sent if body is request.body else body


def _head(attempt: Attempt, unpacked: bool) -> Sent:
    """For this candidate, remembered with the client's. `unpacked`: the body is no longer in its coding."""
    memo, route, candidate = attempt.exchange.memo, attempt.inquiry.route, attempt.candidate
    head, provider = memo.head, candidate.provider
    to = upstream_request(candidate, route.operation, route.tail, memo.query, head.fields, version=route.version)
    fields = http1.without(to.headers, _CONTENT_ENCODING) if unpacked else to.headers
    pod = attempt.exchange.pod
    unsigned = UnsignedRequest(provider, head.method, to.target, fields)
    sent = Sent(
        candidate,
        unpacked,
        Destination(to.scheme, to.host, to.port, provider.private_network, to.account, provider.organization_id),
        http1.open_request(head.method.encode(), to.target, fields),
        str(provider.kind),
        route.operation in BILLED,
        way_to(pod.upstreams, pod.limits, pod.clock.wall_ms, unsigned),
    )
    memo.remember_sent(sent)
    return sent


async def _refused(attempt: Attempt, response: Response) -> bool:
    """Whether the provider refuses the organization itself; then the client has heard it."""
    with attempt.exchange.waiting():
        refused = await refused_by(account_errors(attempt), response)
    if refused is not None:
        attempt.refused(refused, answer=True)
    return refused is not None


def account_errors(attempt: Attempt) -> AccountErrors:
    """Whose account this attempt uses, and who can mend it."""
    return AccountErrors(attempt.inquiry.route.dialect.name, attempt.candidate, attempt.inquiry.view)
