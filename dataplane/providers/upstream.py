"""A client's request as the provider gets it: address, target and head; the body is the dialect's business."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

from dataplane.core.errors import Code, Refusal
from dataplane.core.routing import Candidate
from dataplane.core.snapshot import Provider
from dataplane.dialects.dialect import Operation
from dataplane.providers import endpoint as endpoints
from dataplane.providers.echo import Echo
from dataplane.providers.endpoint import UpstreamEndpoint
from dataplane.providers.fields import Field, field, lines_are_whole
from dataplane.providers.hygiene import query_parameters, request_fields, response_fields
from dataplane.providers.kind import Call, UpstreamKind
from dataplane.providers.registry import KINDS

# Providers prepared at once; more than any installation seen, and each is a few hundred bytes.
PREPARED: Final = 4096
# Targets remembered per provider (models × operations), and how long one may be.
TARGETS: Final = 256
TARGET_LENGTH: Final = 512

_IDENTITY: Final = field("Accept-Encoding", "identity")


class UpstreamRequest(NamedTuple):
    """Where to connect and what the head says; `Content-Length` is for whoever knows the body. `account`: a name of
    the provider with this very credential."""

    scheme: str
    host: str
    port: int
    target: bytes
    headers: list[Field]
    account: str


class _Prepared:
    """What every request to one provider has in common, checked and encoded once."""

    __slots__ = ("account", "defaults", "echo", "endpoint", "fields", "host", "kind", "provider", "replaced", "targets")

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.kind: UpstreamKind = KINDS[provider.kind]
        self.endpoint: UpstreamEndpoint = endpoints.parse(provider.base_url)
        if self.endpoint.scheme == "http" and not provider.private_network:
            raise ValueError("a credential does not travel in the clear")
        secret = provider.credential.reveal()
        self.account = f"{provider.id} {blake2b(secret, digest_size=16).hexdigest()}"
        self.host = field("Host", self.endpoint.authority)
        credential = self.kind.credential(secret) if secret else ()
        self.fields = (_IDENTITY, *_account_fields(provider, self.kind), *credential)
        self.echo = Echo(secret)
        self.defaults = tuple((name.lower(), (name, value)) for name, value in self.kind.defaults)
        self.replaced = self.kind.replaces(provider)
        self.targets: dict[tuple[Operation, str, str, str, str], bytes] = {}

    def target(self, operation: Operation, version: str, tail: str, query: str, model: str) -> bytes:
        """What the request line says; the same few come again and again. Raises ValueError."""
        question = (operation, version, tail, query, model)
        target = self.targets.get(question)
        if target is None:
            path = self.kind.path(self.provider, self.endpoint, Call(operation, version, tail, model))
            parameters = query_parameters(query, self.replaced)
            if parameters:
                path += ("&" if "?" in path else "?") + parameters
            target = path.encode("ascii")
            if len(tail) + len(query) + len(model) <= TARGET_LENGTH:
                if len(self.targets) >= TARGETS:
                    self.targets.clear()
                self.targets[question] = target
        return target


def _account_fields(provider: Provider, kind: UpstreamKind) -> Iterator[Field]:
    """Raises ValueError for a name that chooses no account with this kind."""
    for name, value in provider.account_headers:
        if name not in kind.account_headers:
            raise ValueError("a header that chooses no account here")
        yield field(name, value)


_prepared: dict[str, _Prepared] = {}


def upstream_request(
    candidate: Candidate,
    operation: Operation,
    path_tail: str,
    query: str,
    client_headers: Iterable[Field],
    *,
    version: str = "",
) -> UpstreamRequest:
    """`path_tail` and `version` as the client's route has them (`/messages` and `v1`); `{model}` in the tail is filled
    in.

    `query` is the client's, raw, without the question mark. Raises Refusal: PROVIDER_NOT_REACHABLE when the provider's
    address or credential is unusable, BAD_REQUEST when the client's path, query or headers cannot be passed on.
    """
    prepared = _prepare(candidate.provider)
    headers = [prepared.host, *request_fields(client_headers)]
    if prepared.kind.withheld:
        headers = [pair for pair in headers if pair[0].lower() not in prepared.kind.withheld]
    for name, pair in prepared.defaults:
        if not any(sent.lower() == name for sent, _ in headers):
            headers.append(pair)
    headers += prepared.fields
    try:
        target = prepared.target(operation, version, path_tail, query, wire_model(candidate))
    except ValueError:
        raise Refusal(Code.BAD_REQUEST, "the path, the query or the model's name cannot be passed on") from None
    if not lines_are_whole(headers):
        raise Refusal(Code.BAD_REQUEST, "a header of the request holds a line break")
    where = prepared.endpoint
    return UpstreamRequest(where.scheme, where.host, where.port, target, headers, prepared.account)


def is_stream(provider: Provider, content_type: bytes) -> bool:
    """An answer of this type goes on: the client gets events, not one body."""
    return KINDS[provider.kind].streams(content_type)


def response_headers(provider: Provider, upstream_headers: Iterable[Field]) -> list[Field]:
    """Of the provider's answer, what the client gets to see."""
    return response_fields(upstream_headers, echo_of(provider))


def echo_of(provider: Provider) -> Echo:
    """What its credential looks like where it comes back."""
    return _prepare(provider).echo


def wire_model(candidate: Candidate) -> str:
    """What the body's `model` has to say to this provider: the model, or on Azure its deployment."""
    return KINDS[candidate.provider.kind].wire_model(candidate.provider, candidate.model)


def _prepare(provider: Provider) -> _Prepared:
    prepared = _prepared.get(provider.id)
    if prepared is not None and prepared.provider is provider:
        return prepared
    try:
        prepared = _Prepared(provider)
    except ValueError:
        raise unusable(provider) from None  # the cause could carry the credential
    if len(_prepared) >= PREPARED:
        _prepared.clear()
    _prepared[provider.id] = prepared
    return prepared


def unusable(provider: Provider) -> Refusal:
    """What an admin has entered is no address, no credential, or no header of this kind."""
    return Refusal(
        Code.PROVIDER_NOT_REACHABLE,
        f"provider '{provider.name}' has an address, an account header or a credential that cannot be used; an admin "
        "can correct it",
        meta={"provider": provider.name},
    )
