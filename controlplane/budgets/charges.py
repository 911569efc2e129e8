"""Booking what attempts have cost on the accounts that they drew on: exactly once, in the caller's transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from controlplane.budgets.models import Charge
from controlplane.budgets.months import month_of
from controlplane.budgets.unit_of_work import UnitOfWork
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


def book_costs(costs: Sequence[Cost]) -> None:
    """One Charge per account. Raises IntegrityError for one that is there already: then nothing of it is booked."""
    costs = [cost for cost in costs if cost.amount_nano and cost.accounts]
    if costs:
        unit = unit_for(costs)
        charge(unit, costs)
        unit.store()


def unit_for(costs: Sequence[Cost], sessions: Iterable[str] = ()) -> UnitOfWork:
    """A unit of work with the accounts and lease sessions that the costs are about, and with these sessions."""
    near = {ref: cost.started_ms for cost in costs for ref in cost.accounts}
    lease_sessions = {*sessions, *(cost.lease_session for cost in costs if cost.lease_session)}
    return UnitOfWork(near, lease_sessions, near=near)


def charge(unit: UnitOfWork, costs: Sequence[Cost]) -> None:
    """The same in a unit of work that the caller stores."""
    charges: list[Charge] = []
    for cost in costs:
        keys = {ref: pk for ref in cost.accounts if (pk := unit.account_id(ref)) is not None}
        if len(keys) < len(cost.accounts):
            log.warning(
                "budget_account_unknown request=%s accounts=%s", cost.request_id, set(cost.accounts) - set(keys)
            )
        if not cost.amount_nano:
            continue
        unit.lessor.charge(cost.lease_session, keys, cost.amount_nano)
        charges += [_charge(cost, pk, unit.now) for pk in keys.values()]
    Charge.objects.bulk_create(charges, batch_size=500)


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
