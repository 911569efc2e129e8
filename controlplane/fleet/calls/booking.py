"""What books the reports of pods: the app that keeps the ledger registers it, since the fleet stands below that app."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controlplane.environment import ConfigurationError
from dataplane.core.money.messages import LiveHold
from protos import fleet_pb2 as wire


class HeldUp(Exception):
    """Somebody else holds rows that some records of the batch are booked on. The others are booked; `ack` says what
    comes before the first of those."""

    def __init__(self, ack: wire.UsageAck) -> None:
        super().__init__("somebody holds rows of the ledger that some of these records are booked on")
        self.ack = ack


# One batch, and the name in the pod's certificate. In a database thread. Raises HeldUp.
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
