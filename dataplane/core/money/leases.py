"""`Leases`: every lease that a `Lessor` has loaded, by account and lease session, and sums over those of one account.

The sums are kept from one answer to the next: a fleet has hundreds of leases on an account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dataplane.core.money.lease_rows import LeaseRow, SessionRow, SessionState
from dataplane.core.money.messages import AccountRef


class Figures(NamedTuple):
    """Of one lease: what it holds, what of that idles, and what its requests hold beyond it."""

    held: int
    idle: int
    owed: int


class Leases(dict[AccountRef, dict[str, LeaseRow]]):
    """`sessions`: lease sessions by their ids, as the lessor has them. Nothing counts of a closed one."""

    def __init__(self, sessions: Mapping[str, SessionRow]) -> None:
        super().__init__()
        self._sessions = sessions
        self._idle: dict[AccountRef, int] = {}
        self._owed: dict[AccountRef, int] = {}
        # When it was looked, and which lease sessions had drawn on the account.
        self._lately: dict[AccountRef, tuple[int, set[str]]] = {}

    def of(self, session_id: str, ref: AccountRef) -> LeaseRow:
        """A new one, if there is none."""
        leases = self.setdefault(ref, {})
        if session_id not in leases:
            leases[session_id] = LeaseRow(session_id, ref)
        return leases[session_id]

    def forget_sums(self) -> None:
        """Rows came, or a session has ended."""
        self._idle.clear()
        self._owed.clear()
        self._lately.clear()

    def figures(self, lease: LeaseRow) -> Figures:
        held = self.holds(lease)
        return Figures(held, max(0, min(lease.free, held)), self._owes(lease))

    def changed(self, lease: LeaseRow, before: Figures) -> int:
        """Its figures were others before. Returns how much more it holds."""
        after, ref = self.figures(lease), lease.ref
        if ref in self._idle:
            self._idle[ref] += after.idle - before.idle
        if ref in self._owed:
            self._owed[ref] += after.owed - before.owed
        return after.held - before.held

    def holds(self, lease: LeaseRow) -> int:
        return max(0, lease.balance) if self._open(lease) else 0

    def idle(self, ref: AccountRef) -> int:
        """What pods have leased of the account and no request uses."""
        idle = self._idle.get(ref)
        if idle is None:
            idle = self._idle[ref] = sum(self.figures(lease).idle for lease in self.get(ref, {}).values())
        return idle

    def owed(self, ref: AccountRef, but: str) -> int:
        """What requests hold beyond the leases on the account, but for those of one session."""
        owed = self._owed.get(ref)
        if owed is None:
            owed = self._owed[ref] = sum(map(self._owes, self.get(ref, {}).values()))
        own = self.get(ref, {}).get(but) if owed else None
        return owed - self._owes(own) if own is not None else owed

    def use(self, lease: LeaseRow, now: int) -> None:
        """Requests draw on it."""
        lease.used_ms = now
        looked_at, sessions = self._lately.get(lease.ref, (-1, set()))
        if looked_at == now:
            sessions.add(lease.session)

    def pods_on(self, ref: AccountRef, session_id: str, now: int, active_ms: int) -> int:
        """The number of pods that draw on the account: this one, and those that have within `active_ms`."""
        looked_at, sessions = self._lately.get(ref, (-1, set()))
        if looked_at != now:
            leases = self.get(ref, {}).values()
            sessions = {lease.session for lease in leases if now - lease.used_ms <= active_ms}
            self._lately[ref] = now, sessions
        return len(sessions) + (session_id not in sessions)

    def _owes(self, lease: LeaseRow) -> int:
        """As last reported, and as far as it is not settled already: a budget that only warned let those requests in,
        or they came without contact. Nobody owes more than what runs holds."""
        if lease.free >= 0 or not self._open(lease):
            return 0
        return max(0, min(min(0, lease.balance) - lease.free, lease.live))

    def _open(self, lease: LeaseRow) -> bool:
        session = self._sessions.get(lease.session)
        return session is not None and session.state is not SessionState.CLOSED
