"""`Contact`: whether the control plane can be reached, and until when what it granted may be spent.

A lease may be spent until the last acknowledged report was *sent*, plus its time to live; the control plane counts from
when it *received* that report, and waits for some grace more. So the pod always stops first, whatever is lost or late.
"""

from __future__ import annotations

from typing import Final

# Reports in flight whose sending time is remembered; an older one proves nothing any more.
UNACKNOWLEDGED: Final = 64
# Stands for the hello among the reports, which count from 1.
HELLO: Final = 0


class Contact:
    """`now` in milliseconds of the pod's clock. `pods`: alive, as the control plane counts them."""

    __slots__ = ("_last_seq", "_sent", "deadline", "lost_at", "pods", "ttl_ms")

    def __init__(self, now: int) -> None:
        self.deadline = 0
        self.pods = 1
        self.ttl_ms = 0
        self.lost_at: int | None = now  # no contact since; None: in contact
        self._sent: dict[int, int] = {}
        self._last_seq = HELLO

    def fenced(self, now: int) -> bool:
        """Leases may not be spent any more, for all the pod knows others may have their money."""
        return now >= self.deadline

    def given_up(self, now: int, patience_ms: int) -> bool:
        """Contact has been lost for so long that waiting for it again would be in vain."""
        return self.lost_at is not None and now >= self.lost_at + patience_ms

    def lost(self, now: int) -> None:
        if self.lost_at is None:
            self.lost_at = now

    def greets(self, now: int) -> None:
        self._sent[HELLO] = now

    def welcomed(self, ttl_ms: int, pods: int) -> None:
        self.ttl_ms = ttl_ms
        self.acknowledged(HELLO, pods)

    def reports(self, now: int) -> int:
        """The number of the report that is sent now."""
        self._last_seq += 1
        self._sent[self._last_seq] = now
        while len(self._sent) > UNACKNOWLEDGED:
            del self._sent[next(iter(self._sent))]
        return self._last_seq

    def acknowledged(self, seq: int, pods: int) -> None:
        sent = self._sent.pop(seq, None)
        if sent is not None:
            self.deadline = max(self.deadline, sent + self.ttl_ms)
        self.back(pods)

    def back(self, pods: int) -> None:
        self.lost_at = None
        self.pods = max(1, pods)

    def start_anew(self, now: int) -> None:
        """The leases so far are void."""
        self.deadline = now
        self._sent.clear()
