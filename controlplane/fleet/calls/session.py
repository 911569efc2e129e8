"""One pod's Watch as a state machine: what the pod holds, what is on its way, what it refused. No I/O, no clock.

At most one update is under way: the next one is made from what the pod has acknowledged, so a slow pod's next update
simply spans more revisions, and what is kept for it never grows.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.fleet.state.catalogue import Catalogue
from protos import fleet_pb2 as wire

ACK_S = 60.0  # a pod that neither takes nor refuses an update for so long is cut off, and may come back
LONGEST_RESYNC_PAUSE_S = 30.0


class Malformed(Exception):
    """The peer broke the protocol; its stream ends with INVALID_ARGUMENT."""


class WatchSession:
    """Times are seconds of the caller's clock."""

    def __init__(self, hello: wire.Hello, catalogue: Catalogue) -> None:
        self.pod_id = hello.pod_id
        self.epoch = hello.epoch
        self.applied = hello.revision
        self._refused = -1
        self._under_way: int | None = None
        self._sending = ("", 0)
        self._sent_at = 0.0
        self._everything = (self.epoch, self.applied) == (catalogue.epoch, catalogue.revision) and (
            hello.digest != catalogue.digest
        )
        self._resyncs = 0
        self._not_before = 0.0
        self._heartbeat: wire.Heartbeat | None = None

    def update(self, catalogue: Catalogue, now: float) -> Iterable[bytes]:
        """The messages to send next; none while the pod has not answered the last ones, or is up to date."""
        if not self.is_due(catalogue, now):
            return ()
        if self._needs_everything(catalogue):
            messages: Iterable[bytes] = catalogue.full()
        else:
            messages = catalogue.delta(self.applied)
        self._everything = False
        self._under_way, self._sent_at = catalogue.revision, now
        self._sending = (catalogue.epoch, catalogue.revision)
        return messages

    def is_due(self, catalogue: Catalogue, now: float) -> bool:
        """Whether `update` has messages to send."""
        if self._under_way is not None or now < self._not_before or self.is_ahead_of(catalogue):
            return False
        return self._needs_everything(catalogue) or catalogue.revision > max(self.applied, self._refused)

    def _needs_everything(self, catalogue: Catalogue) -> bool:
        return self._everything or not catalogue.can_continue(self.epoch, self.applied)

    def is_ahead_of(self, catalogue: Catalogue) -> bool:
        """The pod holds revisions that the database does not have: it must not be taken back."""
        return self.epoch == catalogue.epoch and self.applied > catalogue.revision

    def is_overdue(self, now: float) -> bool:
        """Whether the pod should have answered the last update by now."""
        return self._under_way is not None and now >= self._sent_at + ACK_S

    def ack(self, ack: wire.Ack) -> bool:
        """Whether it is news. Raises Malformed."""
        if self._under_way is None or ack.revision != self._under_way:
            if ack.revision <= self.applied:
                return False
            raise Malformed(f"acknowledged revision {ack.revision}, which was not sent")
        self.epoch, self.applied = self._sending
        self._under_way, self._refused, self._resyncs = None, -1, 0
        return True

    def nack(self, nack: wire.Nack, now: float) -> None:
        """The pod goes on with what it has. Raises Malformed."""
        if self._under_way is None or nack.revision != self._under_way:
            raise Malformed(f"refused revision {nack.revision}, which was not sent")
        self._under_way = None
        if nack.resync:
            self._everything = True
            self._not_before = now + min(LONGEST_RESYNC_PAUSE_S, 2.0**self._resyncs - 1)
            self._resyncs = min(self._resyncs + 1, 10)
        else:
            self._refused = nack.revision

    def heartbeat(self, heartbeat: wire.Heartbeat) -> None:
        """Only the newest is answered: an older answer says nothing more."""
        self._heartbeat = heartbeat

    @property
    def owes_an_answer(self) -> bool:
        return self._heartbeat is not None

    def heartbeat_ack(self, catalogue: Catalogue, fresh: bool, now_ms: int) -> wire.FleetMessage | None:
        """The answer that is due. `fresh`: the replica read the newest revision a moment ago; `now_ms`: Unix time, by
        which the pod's clock goes."""
        if self._heartbeat is None:
            return None
        answered, self._heartbeat = self._heartbeat, None
        ack = wire.HeartbeatAck(
            seq=answered.seq,
            head_revision=catalogue.revision,
            fresh=fresh and not self.is_ahead_of(catalogue),
            epoch=catalogue.epoch,
            server_time_ms=now_ms,
        )
        return wire.FleetMessage(heartbeat_ack=ack)
