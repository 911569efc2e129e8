"""`most`: how much of an account one lease session may settle, since a pod's word about money counts only as far as it
was granted.

What a session was granted and neither spent nor gave back is its own. Beyond that facts may go, and lies must not:
an answer may cost more than was held for it, and a pod that nobody answered goes by its budgets' outage rules.
"""

from __future__ import annotations

from typing import Final

from controlplane.budgets.unit_of_work import UnitOfWork
from dataplane.core.money.amounts import MOST_NANO
from dataplane.core.money.lease_rows import LeaseRow, SessionState
from dataplane.core.money.messages import AccountRef
from dataplane.core.money.slices import HoldRules
from dataplane.core.rows import Budget, OutageRule

# How far all answers of a session may go beyond what was held for them: as far again as it was granted, and at least
# this much (the dearest answers of today), but for a session that was granted next to nothing only so many times that.
OVERSHOOT_NANO: Final = 500_000_000
OVERSHOOT_TIMES: Final = 16
# For how long after its pod was alone a session's records may tell of what was spent then: streams last that long.
REMEMBERED_MS: Final = 3_600_000

_OUTAGE_PERCENT: Final = HoldRules().outage_percent


def most(unit: UnitOfWork, lease_session: str, ref: AccountRef) -> int:
    """Nano-dollars; without a bound of ours where no budget blocks: it warns, it is off, it was deleted."""
    budget, account = unit.budgets.get(ref.budget_id), unit.lessor.accounts[ref]
    if budget is None or not budget.enabled or not account.blocks:
        return MOST_NANO
    lease = unit.lessor.leases.get(ref, {}).get(lease_session, LeaseRow(lease_session, ref))
    kept = max(0, lease.granted - lease.returned)
    overshoot = kept + min(max(account.overdraft_limit, OVERSHOOT_NANO), OVERSHOOT_TIMES * kept)
    return max(0, lease.balance + overshoot + _in_outage(unit, lease_session, budget, account.limit))


def _in_outage(unit: UnitOfWork, lease_session: str, budget: Budget, limit: int) -> int:
    """What the budget's rule lends a pod that was alone: we know when we did not hear of it, whatever it says."""
    if not _was_alone(unit, lease_session) or budget.outage is OutageRule.STRICT:
        return 0
    return MOST_NANO if budget.outage is OutageRule.OPEN else limit * _OUTAGE_PERCENT // 100


def _was_alone(unit: UnitOfWork, lease_session: str) -> bool:
    session, rules = unit.lessor.sessions.get(lease_session), unit.lessor.rules
    if session is None:
        return False
    silent = unit.now_ms >= session.expires_ms - rules.ttl_ms + rules.silent_ms
    lately = 0 < session.alone_ms > unit.now_ms - REMEMBERED_MS
    return silent or lately or session.state is not SessionState.OPEN
