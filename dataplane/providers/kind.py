"""`Kind`: what a slice declares, and `Call`: what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dataplane.core.snapshot import Provider
from dataplane.dialects.dialect import Operation
from dataplane.providers.endpoint import Endpoint, checked_tail, segment
from dataplane.providers.fields import Field, field


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
class Kind:
    """One kind of provider.

    `path(provider, endpoint, call)` is the target without the client's query; it may end with a query of its own.
    `credential(secret)` are the fields that show it; called once per provider, never with an empty secret.
    `defaults` are added where the client sent none. `wire_model(provider, model)` is what the body's `model` has to
    say. `query` names parameters of the client that the provider's configuration replaces.
    """

    path: Callable[[Provider, Endpoint, Call], str]
    credential: Callable[[bytes], tuple[Field, ...]]
    defaults: tuple[Field, ...] = ()
    wire_model: Callable[[Provider, str], str] = lambda provider, model: model
    replaces: Callable[[Provider], frozenset[str]] = lambda provider: frozenset()


def under_version(default: str) -> Callable[[Provider, Endpoint, Call], str]:
    """`/v1` + tail, unless the provider's address already ends with a version."""

    def path(provider: Provider, endpoint: Endpoint, call: Call) -> str:
        return endpoint.path + call.path() if endpoint.versioned else f"{endpoint.path}/{default}{call.path()}"

    return path


def bearer(secret: bytes) -> tuple[Field, ...]:
    return (field(b"Authorization", b"Bearer " + secret),)
