"""`UpstreamKind`: what a slice declares. `Call`, `UnsignedRequest`, `BodyDecoder`: what it is asked, what it gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dataplane.core.snapshot import Provider
from dataplane.dialects.dialect import Operation
from dataplane.providers.endpoint import UpstreamEndpoint, checked_tail, segment
from dataplane.providers.fields import Field, field

_EVENT_STREAM = b"text/event-stream"


class CannotAuthorize(Exception):
    """The credential cannot be shown now (its issuer is away, say). The text is fit for a client: no part of it."""


@dataclass(frozen=True, slots=True)
class Call:
    """`version` and `tail` as the client's route has them: "v1" and "/messages"; `{model}` stands where the model
    goes."""

    operation: Operation
    version: str
    tail: str
    model: str  # as the provider calls it on the wire

    def path(self) -> str:
        """The tail with the model in it. Raises ValueError."""
        before, named, after = self.tail.partition("{model}")
        return checked_tail(f"{before}{segment(self.model)}{after}" if named else self.tail)


@dataclass(frozen=True, slots=True)
class UnsignedRequest:
    """A request as it will leave, but for the fields that authorize it and its Content-Length."""

    provider: Provider
    method: str
    target: bytes
    fields: Sequence[Field]  # in their order, Host first

    @property
    def host(self) -> bytes:
        """What the Host field says."""
        return self.fields[0][1]


class BodyDecoder(Protocol):
    """One answer in the provider's own framing, made into the bytes of its dialect. Sans-io.

    `content_type` is what the decoded body is. `broken`: what came since the last frame is none, or larger than the
    decoder is ready to hold, or the answer ended inside it; what was given before stands, and nothing more is fed.
    """

    content_type: bytes
    broken: bool

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes:
        """The rest, when all has come."""
        ...


def no_credential(secret: bytes) -> tuple[Field, ...]:
    """For a kind whose requests are authorized one by one."""
    return ()


async def by_its_credential(request: UnsignedRequest, body: bytes, clock: Callable[[], int]) -> tuple[Field, ...]:
    """For a kind whose credential is the same in every request: it is among the fields already."""
    return ()


def server_sent_events(content_type: bytes) -> bool:
    return content_type.lower().startswith(_EVENT_STREAM)


def as_it_comes(content_type: bytes) -> BodyDecoder | None:
    """For a kind whose answers are in the dialect's own framing."""
    return None


@dataclass(frozen=True, slots=True)
class UpstreamKind:
    """One kind of provider.

    `path(provider, endpoint, call)` is the target without the client's query; it may end with a query of its own.
    `credential(secret)` are the fields that show it; called once per provider, never with an empty secret.
    `defaults` are added where the client sent none. `wire_model(provider, model)` is what the body's `model` has to
    say. `replaces` names parameters of the client's query that the provider's configuration replaces, `withheld` the
    client's fields (lower case) that do not pass since the kind writes its own, `account_headers` those that a provider
    of this kind may set to choose an account (lower case).

    `authorize(request, body, clock)` is for a kind whose credential differs from request to request: the fields to add,
    for exactly this body, at `clock()` (Unix milliseconds). It may wait, which counts as waiting for the provider.
    Raises CannotAuthorize, Refusal, or ValueError for a credential that is none.

    `streams(content_type)` is whether an answer is a stream; `decoder(content_type)` makes one out of what the provider
    frames in its own way, or gives None for what passes as it comes.
    """

    path: Callable[[Provider, UpstreamEndpoint, Call], str]
    credential: Callable[[bytes], tuple[Field, ...]] = no_credential
    defaults: tuple[Field, ...] = ()
    wire_model: Callable[[Provider, str], str] = lambda provider, model: model
    replaces: Callable[[Provider], frozenset[str]] = lambda provider: frozenset()
    withheld: frozenset[bytes] = frozenset()
    account_headers: frozenset[str] = frozenset()
    authorize: Callable[[UnsignedRequest, bytes, Callable[[], int]], Awaitable[Sequence[Field]]] = by_its_credential
    streams: Callable[[bytes], bool] = server_sent_events
    decoder: Callable[[bytes], BodyDecoder | None] = as_it_comes

    @property
    def plain(self) -> bool:
        """Its head is the same for every body, and its answers pass as they come."""
        return self.authorize is by_its_credential and self.decoder is as_it_comes


def under_version(default: str) -> Callable[[Provider, UpstreamEndpoint, Call], str]:
    """`/v1` + tail, unless the provider's address already ends with a version."""

    def path(provider: Provider, endpoint: UpstreamEndpoint, call: Call) -> str:
        return endpoint.path + call.path() if endpoint.versioned else f"{endpoint.path}/{default}{call.path()}"

    return path


def bearer(secret: bytes) -> tuple[Field, ...]:
    return (field(b"Authorization", b"Bearer " + secret),)
