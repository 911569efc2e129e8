"""Watches what the ledger says about itself: models without a price, records that were lost or could not be applied.

Each is told once a day and subject. What a rule could see while the workers were away is found when they are back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db.models import Count, Max, Min, Q, QuerySet, Sum

from controlplane.alerts.models import AlertRule, RuleKind
from controlplane.alerts.raising import Occurrence, begin
from controlplane.alerts.spend_watch import rows_of
from controlplane.providers.models import Provider
from controlplane.usage import dead_letters
from controlplane.usage.models import DeadLetter, ReportSession

LOOK_BACK = timedelta(days=2)
REFUSED_UNPRICED = "unpriced_model"
MOST_SUBJECTS = 200  # of one look of one rule
PODS_NAMED = 3
WHERE = "the table of dead letters holds them"
NOT_KEPT = (
    f"the table of dead letters holds the newest {dead_letters.MOST_OF_ONE_POD:,} of each pod, "
    f"{dead_letters.MOST:,} in all; a pod that sends so many is broken, or lies: evict it"
)


def look(now: datetime) -> int:
    """Evaluate the rules about unpriced models and lost usage. How many alerts began."""
    rules = AlertRule.objects.filter(enabled=True)
    unpriced = sum(_unpriced(rule, now) for rule in rules.filter(kind=RuleKind.UNPRICED_MODEL))
    return unpriced + sum(_lost(rule, now) for rule in rules.filter(kind=RuleKind.LOST_USAGE))


def day_of(at: datetime) -> tuple[str, datetime]:
    """Its key, and its end."""
    start = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return f"day:{start:%Y-%m-%d}", start + timedelta(days=1)


def _unpriced(rule: AlertRule, now: datetime) -> int:
    """Used and booked at nothing since nobody knows its price, or refused for that."""
    since = max(rule.armed_at, now - LOOK_BACK)
    used = Q(priced=False, cost_nano=0) & (Q(input_tokens__gt=0) | Q(output_tokens__gt=0))
    rows = rows_of(rule).filter(used | Q(refusal_code=REFUSED_UNPRICED), received_at__gte=since, correction=False)
    groups = (
        rows.order_by()
        .values("provider_id", "model")
        .annotate(
            requests=Count("pk"),
            refused=Count("pk", filter=Q(refusal_code=REFUSED_UNPRICED)),
            people=Count("principal_id", distinct=True),
            first=Min("started_at"),
            last=Max("started_at"),
        )
    )
    began = 0
    most_used = list(groups.order_by("-requests", "model")[:MOST_SUBJECTS])
    providers = dict(
        Provider.objects.filter(pk__in={group["provider_id"] for group in most_used}).values_list("pk", "name")
    )
    for group in most_used:
        model, provider = group["model"] or "(no model)", providers.get(group["provider_id"], group["provider_id"])
        key, ends_at = day_of(group["last"])
        refused = "refused" if group["refused"] else "booked at $0.00"
        occurrence = Occurrence(
            subject_kind="model",
            subject=f"{group['provider_id']}/{model}"[:300],
            window_key=key,
            title=f"{model[:120]} has no price: its requests are {refused}",
            happened_at=group["first"],
            ends_at=ends_at,
            facts=(
                ("Model", model),
                *((("Provider", provider),) if provider else ()),
                ("Requests", f"{group['requests']}, of them refused {group['refused']}"),
                ("People", str(group["people"])),
                ("What to do", "add a price override, or choose what the provider does with unpriced models"),
            ),
            data={"model": model, "provider_id": group["provider_id"], "requests": group["requests"]},
        )
        began += begin(rule, occurrence) is not None
    return began


def _lost(rule: AlertRule, now: datetime) -> int:
    since = max(rule.armed_at, now - LOOK_BACK)
    began = 0
    for session in ReportSession.objects.filter(missing__gt=0, last_at__gte=since).order_by("pk")[:MOST_SUBJECTS]:
        key, ends_at = day_of(session.last_at)
        occurrence = Occurrence(
            subject_kind="pod",
            subject=session.session_id,
            window_key=key,
            title=f"{_records(session.missing)} of pod {session.pod_id} never came",
            happened_at=session.last_at,
            ends_at=ends_at,
            facts=(("Pod", session.pod_id), ("Missing", str(session.missing)), ("Gaps", str(len(session.gaps)))),
            data={"session_id": session.session_id, "pod_id": session.pod_id, "missing": session.missing},
        )
        began += begin(rule, occurrence) is not None
    return (
        began
        + _dead(rule, "dead_letters", dead_letters.one_by_one(), since)
        + (_dead(rule, "dead_letters_not_kept", dead_letters.numbers(), since))
    )


def _dead(rule: AlertRule, subject: str, letters: QuerySet[DeadLetter], since: datetime) -> bool:
    """About records that could not be applied: those that are kept to be looked at, or those that are only counted."""
    letters = letters.filter(received_at__gte=since)
    dead = letters.aggregate(number=Sum("count"), first=Min("received_at"), last=Max("received_at"))
    if not dead["number"]:
        return False
    pods = letters.values("identity").annotate(number=Sum("count")).order_by("-number", "identity")[:PODS_NAMED]
    kept = subject == "dead_letters"
    key, ends_at = day_of(dead["last"])
    occurrence = Occurrence(
        subject_kind="dead_letters",
        subject=subject,
        window_key=key,
        title=f"{_records(dead['number'])} could not be applied{'' if kept else ', and were not kept'}",
        happened_at=dead["first"],
        ends_at=ends_at,
        facts=(
            ("Records", str(dead["number"])),
            ("Most from", ", ".join(pod["identity"] or "a pod without a certificate" for pod in pods)),
            ("Where", WHERE if kept else NOT_KEPT),
        ),
        data={"records": dead["number"]},
    )
    return begin(rule, occurrence) is not None


def _records(number: int) -> str:
    return "1 usage record" if number == 1 else f"{number} usage records"
