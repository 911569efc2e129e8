"""The windows that a budget had a while ago: what began under them is booked in them, whoever has edited it since.

A budget that only warns is asked about by nobody, so that its account is opened by the first charge, or by the first
report of a pod: after the edit, perhaps. What the budget was before stands in the audit, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from controlplane.changes.models import AuditEvent
from dataplane.core.money.windows import WindowKind, WindowRule
from dataplane.core.rows import Budget

# A pod may go by what it has read for as long as its organization allows it without contact, which is an hour at most.
BEHIND_MS: Final = 3_600_000
KINDS: Final = frozenset(map(str, WindowKind))
MOST_EDITS: Final = 100  # that are looked at, the newest

Edit = tuple[int, dict[str, Any]]  # when it was made, and the fields before it


def edits_of(budget_id: str) -> list[Edit]:
    """The newest first."""
    events = AuditEvent.objects.filter(target_kind="budget", target_id=budget_id).order_by("-pk")[:MOST_EDITS]
    return [(int(at.timestamp() * 1000), before) for at, before in events.values_list("at", "before")]


def former_rules(budget: Budget, edits: list[Edit], began_ms: int) -> Iterator[WindowRule]:
    """How it divided time before each edit that a request which began then may not have known of."""
    rule = budget.rule
    for at_ms, before in edits:
        if at_ms < began_ms - BEHIND_MS:
            return
        kind = before.get("window", rule.kind)
        if kind not in KINDS:  # of another version
            return
        earlier = replace(
            rule,
            kind=WindowKind(kind),
            timezone=before.get("timezone", rule.timezone),
            anchor=before.get("anchor", rule.anchor),
            resets=before.get("resets", rule.resets),
        )
        if earlier != rule:
            rule = earlier
            yield rule
