"""One try of an exchange against one provider: the request as the provider gets it, and its answer's head."""

from __future__ import annotations

from dataplane.core import authenticate as core
from dataplane.core.routing import Candidate
from dataplane.core.snapshot import Snapshot, VirtualKey
from dataplane.dialects.dialect import BILLED
from dataplane.dialects.registry import Route
from dataplane.providers.kind import UnsignedRequest
from dataplane.providers.upstream import upstream_request, wire_model
from dataplane.proxy.bill import NO_PRICES, Bill
from dataplane.proxy.client.memory import HeadMemo, Sent
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http import heads as http1
from dataplane.proxy.pod import Pod
from dataplane.proxy.provider.connection import Response
from dataplane.proxy.provider.gate import Destination
from dataplane.proxy.provider.own_way import way_to
from dataplane.proxy.stages.read import Request

_CONTENT_ENCODING = frozenset({b"content-encoding"})
_BODILESS = ("GET", "DELETE")


async def attempt(
    exchange: Exchange,
    pod: Pod,
    snapshot: Snapshot,
    key: VirtualKey,
    route: Route,
    request: Request,
    candidate: Candidate,
) -> Response:
    """Raises Refusal before the provider is reached, UpstreamFailure when it cannot be or does not answer."""
    provider, facts = candidate.provider, request.facts
    if key.expires_at_ms or pod.configuration.snapshot is not snapshot:
        core.refuse_unless_usable(pod.configuration.snapshot, key, pod.clock.wall_ms())  # now, not when it came in
    body = route.dialect.rewrite(
        request.body,
        facts,
        model=wire_model(candidate) if facts.model else "",
        include_usage=facts.stream and not facts.asks_usage,
    )
    unpacked = request.sent is not request.body and body is not request.body
    if body is request.body:
        body = request.sent
    to = exchange.caller.was_sent(candidate, unpacked) or _send(exchange.caller, pod, route, candidate, unpacked)
    record = exchange.record
    record.provider_id, record.provider_kind, record.model = provider.id, to.kind, candidate.model
    exchange.admit(
        Bill(
            provider,
            candidate.model,
            snapshot.view(key.organization_id).prices or NO_PRICES,
            to.billed,
            route.dialect.meter(route.operation, streaming=facts.stream, facts=facts),
        )
    )
    method = exchange.head.method
    head = to.head + (b"Content-Length: %d\r\n\r\n" % len(body) if body or method not in _BODILESS else b"\r\n")
    exchange.others_turn()
    response = await to.ask(to.destination, method, head, body, exchange.asking)
    exchange.our_turn()
    exchange.answered(response)
    return response


def _send(caller: HeadMemo, pod: Pod, route: Route, candidate: Candidate, unpacked: bool) -> Sent:
    """The head for this candidate, remembered with the client's. `unpacked`: the body is no longer in its coding."""
    head, provider = caller.head, candidate.provider
    to = upstream_request(candidate, route.operation, route.tail, caller.query, head.fields, version=route.version)
    fields = http1.without(to.headers, _CONTENT_ENCODING) if unpacked else to.headers
    unsigned = UnsignedRequest(provider, head.method, to.target, fields)
    sent = Sent(
        candidate,
        unpacked,
        Destination(to.scheme, to.host, to.port, provider.private_network),
        http1.open_request(head.method.encode(), to.target, fields),
        str(provider.kind),
        route.operation in BILLED,
        way_to(pod.upstreams, pod.limits, pod.clock.wall_ms, unsigned),
    )
    caller.remember_sent(sent)
    return sent
