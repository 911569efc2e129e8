"""What books the reports of pods: the app that keeps the ledger registers it, since the fleet stands below that app."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controlplane.environment import ConfigurationError
from dataplane.core.money.messages import LiveHold
from protos import fleet_pb2 as wire

# One batch, and the name in the pod's certificate. In a database thread.
BookBatch = Callable[[wire.UsageBatch, str], wire.UsageAck]
# A lease session's running requests hold more than was said. In a database thread. Returns those of which nothing is
# known yet.
NoteGrown = Callable[[str, Sequence[LiveHold]], Sequence[LiveHold]]


@dataclass(frozen=True, slots=True)
class Booking:
    """Both raise database errors, having done nothing; the fleet server tries again."""

    book_batch: BookBatch
    note_grown: NoteGrown


_registered: list[Booking] = []


def register(booking: Booking) -> None:
    """For the app's `ready()`. The last one counts."""
    _registered[:] = [booking]


def registered() -> Booking:
    """Raises ConfigurationError: a fleet server without a ledger would acknowledge records that nobody keeps."""
    if not _registered:
        raise ConfigurationError("no app has registered what books the pods' usage records: is controlplane.usage on?")
    return _registered[0]
