"""Watches providers' figures: those that cannot be true, and calls of tools that nobody knows the price of.

Money is not lost by them at once: what cannot be true is metered, what is not known is counted under its name. But the
bill will differ from the books until somebody looks. Each is told once a day and provider.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Max, Min

from controlplane.alerts.models import AlertRule, RuleKind
from controlplane.alerts.raising import Occurrence, begin
from controlplane.alerts.spend_watch import rows_of
from controlplane.alerts.usage_watch import LOOK_BACK, MOST_SUBJECTS, day_of
from controlplane.providers.models import Provider
from controlplane.usage.reading import REASONS
from dataplane.core.usage import Why

ODD: Final = (Why.NOT_COUNTS.value, Why.IMPLAUSIBLE.value)
MOST_ROWS: Final = 2_000  # with calls, of one look of one rule: the newest
TOOLS_NAMED: Final = 5


def look(now: datetime) -> int:
    """Evaluate the rules about providers' figures. How many alerts began."""
    rules = AlertRule.objects.filter(enabled=True, kind=RuleKind.ODD_FIGURES).order_by("pk")
    return sum(_untrue(rule, now) + _unknown(rule, now) for rule in rules)


def _untrue(rule: AlertRule, now: datetime) -> int:
    rows = rows_of(rule).filter(received_at__gte=max(rule.armed_at, now - LOOK_BACK), why__in=ODD, correction=False)
    groups = rows.order_by().values("provider_id", "why")
    figures = groups.annotate(requests=Count("pk"), first=Min("started_at"), last=Max("started_at"))
    began = 0
    for group in figures.order_by("-requests", "provider_id", "why")[:MOST_SUBJECTS]:
        provider = _name(group["provider_id"])
        requests = "1 request" if group["requests"] == 1 else f"{group['requests']:,} requests"
        began += _told(
            rule,
            group,
            subject=f"{group['provider_id']}/{group['why']}",
            title=f"{provider} told figures that cannot be, in {requests}: they are metered instead",
            facts=(
                ("Provider", provider),
                ("Requests", str(group["requests"])),
                ("Why", REASONS[group["why"]]),
                ("What to do", "compare the requests with the provider's own bill; each keeps what it was told"),
            ),
            data={"why": group["why"], "requests": group["requests"]},
        )
    return began


def _unknown(rule: AlertRule, now: datetime) -> int:
    rows = rows_of(rule).filter(received_at__gte=max(rule.armed_at, now - LOOK_BACK)).exclude(unknown_calls={})
    calls: dict[str, Counter[str]] = {}
    spans: dict[str, dict[str, Any]] = {}
    newest = rows.order_by("-received_at", "-pk").values_list("provider_id", "unknown_calls", "started_at")
    for provider_id, counts, at in newest[:MOST_ROWS]:
        calls.setdefault(provider_id, Counter()).update(counts)
        span = spans.setdefault(provider_id, {"provider_id": provider_id, "first": at, "last": at})
        span["first"], span["last"] = min(span["first"], at), max(span["last"], at)
    began = 0
    for provider_id, tools in sorted(calls.items())[:MOST_SUBJECTS]:
        provider = _name(provider_id)
        named = [f"{name} ({number:,})" for name, number in tools.most_common(TOOLS_NAMED)]
        rest = len(tools) - len(named)
        began += _told(
            rule,
            spans[provider_id],
            subject=f"{provider_id}/tools",
            title=f"{provider} ran tools that have no price: {', '.join(named[:2])}"[:280],
            facts=(
                ("Provider", provider),
                ("Calls", ", ".join(named) + (f", and {rest} other tools" if rest else "")),
                ("Booked", "their tokens; not what the provider may charge for a call"),
                ("What to do", "see what the provider charges for them; a newer version may know"),
            ),
            data={"tools": dict(tools.most_common(TOOLS_NAMED))},
        )
    return began


def _told(rule: AlertRule, group: Mapping[str, Any], **words: Any) -> bool:
    key, ends_at = day_of(group["last"])
    words["data"] |= {"provider_id": group["provider_id"]}
    occurrence = Occurrence(
        subject_kind="provider", window_key=key, happened_at=group["first"], ends_at=ends_at, **words
    )
    return begin(rule, occurrence) is not None


def _name(provider_id: str) -> str:
    return Provider.objects.filter(pk=provider_id).values_list("name", flat=True).first() or "A provider that is gone"
