"""Who asks, what, and on which snapshot: what every stage behind `read` goes by."""

from __future__ import annotations

import msgspec

from dataplane.core.snapshot import OrganizationView, Snapshot, VirtualKey
from dataplane.dialects.dialect import RequestFacts
from dataplane.dialects.registry import Route


class Request:
    """`sent` is the body as it came, `body` its decoded form: the same object when it was not compressed."""

    __slots__ = ("body", "facts", "sent")

    def __init__(self, facts: RequestFacts, sent: bytes, body: bytes) -> None:
        self.facts = facts
        self.sent = sent
        self.body = body

    def forget_body(self) -> None:
        """The provider has it: an open stream need not hold it too."""
        self.sent = self.body = b""


class Inquiry(msgspec.Struct, frozen=True, gc=False):  # made and read in a third of a NamedTuple's time
    """One request, to its end under the one revision that it was let in with."""

    snapshot: Snapshot
    view: OrganizationView  # what the snapshot holds of the key's organization
    key: VirtualKey
    route: Route
    request: Request
