"""Booking what attempts have cost on the accounts that they drew on: exactly once, in the caller's transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.utils import timezone

from controlplane.budgets.backing import most
from controlplane.budgets.models import Charge
from controlplane.budgets.months import month_of
from controlplane.budgets.unit_of_work import UnitOfWork
from controlplane.budgets.values import ms
from dataplane.core.money.amounts import MOST_NANO
from dataplane.core.money.messages import AccountRef

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one attempt, or what is to be added to it: `correction` counts what was booked of it before."""

    request_id: str
    attempt: int
    lease_session: str  # whose leases it was held on; empty: nobody's
    accounts: tuple[AccountRef, ...]
    amount_nano: int
    started_ms: int
    correction: int = 0
    estimated: bool = False

    def less(self, nano: int) -> Cost:
        """What is left to be booked where so much was before."""
        return replace(self, amount_nano=self.amount_nano - nano)


def book_costs(costs: Sequence[Cost]) -> None:
    """One Charge per account. Raises IntegrityError for one that is there already: then nothing of it is booked."""
    costs = [cost for cost in costs if cost.amount_nano and cost.accounts]
    if costs:
        books = Books(costs)
        for cost in costs:
            books.charge(cost)
        books.store()


class Books:
    """The accounts and lease sessions that some costs are about, and these sessions: locked, charged one cost after the
    other, written by `store()`. In the caller's transaction."""

    def __init__(self, costs: Sequence[Cost], sessions: Iterable[str] = ()) -> None:
        now_ms = ms(timezone.now())
        # A pod's clock opens no window that has yet to come.
        near = {ref: min(cost.started_ms, now_ms) for cost in costs for ref in cost.accounts}
        lease_sessions = {*sessions, *(cost.lease_session for cost in costs if cost.lease_session)}
        self.unit = UnitOfWork(near, lease_sessions, near=near)
        self._charges: list[Charge] = []

    def most(self, lease_session: str, refs: Iterable[AccountRef]) -> int:
        """How much a pod's word may settle on all of these at once, as things stand."""
        present = [ref for ref in refs if ref in self.unit.lessor.accounts]
        return min((most(self.unit, lease_session, ref) for ref in present), default=MOST_NANO)

    def charge(self, cost: Cost) -> None:
        keys = {ref: pk for ref in cost.accounts if (pk := self.unit.account_id(ref)) is not None}
        if len(keys) < len(cost.accounts):
            log.warning(
                "budget_account_unknown request=%s accounts=%s", cost.request_id, set(cost.accounts) - set(keys)
            )
        if cost.amount_nano:
            self.unit.lessor.charge(cost.lease_session, keys, cost.amount_nano)
            self._charges += [_charge(cost, pk, self.unit.now) for pk in keys.values()]

    def store(self) -> None:
        Charge.objects.bulk_create(self._charges, batch_size=500)
        self.unit.store()


def _charge(cost: Cost, account_id: int, at: datetime) -> Charge:
    return Charge(
        account_id=account_id,
        request_id=cost.request_id,
        attempt=cost.attempt,
        correction=cost.correction,
        amount_nano=cost.amount_nano,
        estimated=cost.estimated,
        at=at,
    )


def next_correction(request_id: str, attempt: int) -> int:
    """The number of the attempt's next correction. The caller holds a lock on its usage record."""
    last = (
        Charge.objects.filter(request_id=request_id, month=month_of(request_id), attempt=attempt)
        .order_by("-correction")
        .first()
    )
    return 0 if last is None else last.correction + 1
