"""Lease epochs: which edits of a budget open one, and which one holds at an instant.

What is leased under an older epoch is for the requests that run on it: nothing is admitted on it any more.
"""

from __future__ import annotations

from typing import Final

from dataplane.core.rows import Budget, OutageRule

# Pods open the epoch of an override that ended a little later than the control plane does: by then its clock, whatever
# lies between the two, says so too, and what it grants is of that epoch.
EPOCH_LAG_MS: Final = 5_000

_LENIENCE: Final = {OutageRule.STRICT: 0, OutageRule.STANDARD: 1, OutageRule.OPEN: 2}


def epoch_at(budget: Budget, at_ms: int) -> int:
    """One more with each edit that made the budget stricter, and with each override that has ended."""
    ended = [override for override in budget.overrides if override.until_ms and override.until_ms <= at_ms]
    return budget.lease_epoch + len(ended)


def stricter(before: Budget, after: Budget) -> bool:
    """Whether `after` could refuse anything that `before` would have let pass, now or for another model.

    A reset does not: everything counts from nothing, in accounts of which nothing is leased.
    """
    return (
        (after.blocks and not before.blocks)
        or (after.enabled and not before.enabled)
        or after.limit_nano < before.limit_nano
        or after.overdraft_nano < before.overdraft_nano
        or _LENIENCE[after.outage] < _LENIENCE[before.outage]
        or _widened(before.provider_id, after.provider_id)
        or _widened(before.model_pattern, after.model_pattern)
        or (before.window, before.timezone, before.anchor) != (after.window, after.timezone, after.anchor)
    )


def _widened(before: str, after: str) -> bool:
    """Whether more may be covered than was. Of two different patterns nobody knows."""
    return before not in ("", after)
