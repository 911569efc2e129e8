"""Who may come in: the route, the key, and whether this pod knows enough to judge it."""

from __future__ import annotations

import msgspec

from dataplane.core import authenticate as core
from dataplane.core.authenticate import UnknownKey
from dataplane.core.errors import Code, Refusal
from dataplane.core.snapshot import Snapshot, VirtualKey
from dataplane.dialects import clients, registry
from dataplane.dialects.dialect import Operation
from dataplane.dialects.registry import Route
from dataplane.proxy.client import credentials
from dataplane.proxy.client.body import too_large
from dataplane.proxy.client.memory import Admitted, HeadMemo
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http.heads import Head
from dataplane.proxy.pod import Pod
from dataplane.proxy.ports import Configuration

_METADATA_BYTES = 4096
_TAGS = 32
_TAG_CHARACTERS = 64
_END_USER_CHARACTERS = 256


def find_route(exchange: Exchange, pod: Pod) -> Route:
    """Where the request belongs, before anything of it is believed. Raises Refusal: 400, 404, 405, 413, 426, 503."""
    head, memo, record = exchange.head, exchange.memo, exchange.records.current
    route = memo.route
    if route is None:
        try:
            route = registry.match("GET" if head.method == "HEAD" else head.method, memo.path, head.first)
        except Refusal:
            exchange.envelope = registry.envelope(memo.path, head.first)
            exchange.shown(clients.detect(head.first))
            raise
        memo.route, memo.client = route, clients.detect(head.first, prefix=route.prefix)
        memo.names = str(route.dialect.name), str(route.operation)
        exchange.shown(memo.client)
    exchange.envelope = route.dialect
    if len(pod.exchanges) > pod.limits.exchanges:
        raise Refusal(Code.OVERLOADED, "this pod has too many requests open; try again", retry_after=1)
    if head.method == "HEAD" and route.operation is not Operation.MODELS:
        words = f"{memo.path[:200]} does not answer HEAD"
        raise Refusal(Code.METHOD_NOT_ALLOWED, words, meta={"allow": "GET"})
    record.dialect, record.operation = memo.names
    if exchange.connection.declared > pod.limits.body_bytes:
        raise too_large(pod.limits)
    exchange.reserve_memory(exchange.connection.declared)
    return route


async def authenticate(exchange: Exchange, pod: Pod) -> tuple[Snapshot, VirtualKey]:
    """The key, and the one revision that this request sees to its end. Raises Refusal."""
    configuration, now_ms, memo = pod.configuration, exchange.started_at_ms, exchange.memo
    snapshot = configuration.snapshot
    admitted = memo.admitted
    if admitted is None or not admitted.still_valid(snapshot, configuration.peppers, now_ms):
        token = credentials.presented(exchange.head, exchange.query).reveal()
        try:
            admitted = _admit(memo, configuration, token, now_ms)
        except UnknownKey as unknown:
            with exchange.waiting():
                learnt = await configuration.learn(unknown.public_id)
            if not learnt:
                raise core.invalid_key() from None
            try:
                admitted = _admit(memo, configuration, token, now_ms)
            except UnknownKey:
                raise core.invalid_key() from None
        snapshot = admitted.snapshot
    key = admitted.key
    _attribute(exchange, snapshot, key)
    if not configuration.fresh(admitted.bound_ms):
        raise core.stale()
    return snapshot, key


def _admit(memo: HeadMemo, configuration: Configuration, token: bytes, now_ms: int) -> Admitted:
    """Check the credential, and remember for this very head and snapshot that it was good."""
    snapshot, peppers = configuration.snapshot, configuration.peppers
    memo.admitted = None
    authenticated = core.authenticated(snapshot, token, peppers, now_ms)
    bound_ms = snapshot.organizations[authenticated.key.organization_id].freshness_bound_ms
    memo.admitted = Admitted(snapshot, peppers, authenticated, bound_ms)
    return memo.admitted


def _attribute(exchange: Exchange, snapshot: Snapshot, key: VirtualKey) -> None:
    exchange.pod.exchanges.authenticated(exchange, key.id)
    record, head, memo = exchange.records.current, exchange.head, exchange.memo
    record.organization_id = key.organization_id
    record.team_id = key.team_id
    record.project_id = key.project_id
    record.principal_id = key.principal_id
    record.key_id = key.id
    record.revision = snapshot.revision
    labels = memo.labels
    if labels is None:
        end_user_id = _text(head.get(b"x-langwatch-end-user-id"))[:_END_USER_CHARACTERS]
        memo.labels = labels = (end_user_id, _tags(head), _metadata(head))
    record.end_user_id, tags, record.metadata = labels
    record.tags = key.tags + tags


def _tags(head: Head) -> tuple[str, ...]:
    """`X-Langwatch-Tags`: separated by commas; what is too much or too long is cut off."""
    value = head.first.get(b"x-langwatch-tags")
    if value is None:
        return ()
    tags = [tag.strip()[:_TAG_CHARACTERS] for tag in _text(value).split(",", _TAGS)[:_TAGS]]
    return tuple(tag for tag in tags if tag)


def _metadata(head: Head) -> str:
    """`X-Langwatch-Metadata`: a JSON object, refused rather than lost when it is none."""
    value = head.first.get(b"x-langwatch-metadata")
    if value is None:
        return ""
    try:
        if len(value) <= _METADATA_BYTES and isinstance(msgspec.json.decode(value), dict):
            return value.decode()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    raise Refusal(Code.BAD_REQUEST, f"X-Langwatch-Metadata is a JSON object of at most {_METADATA_BYTES} bytes")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
