"""Providers that refuse the organization's credential or account: one alert an episode, over when they serve again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from controlplane.alerts.models import Alert, AlertRule, AlertState, RuleKind
from controlplane.alerts.raising import Occurrence, begin, end
from controlplane.providers.kinds import KINDS
from controlplane.providers.models import Provider
from dataplane.core.snapshot import ProviderKind

# A credential that is refused now and then begins an episode each time.
MOST_EPISODES = 4
WITHIN = timedelta(hours=1)
ROWS_AT_A_TIME = 500


def look(now: datetime) -> int:
    """Evaluate every rule about providers. How many alerts began."""
    rules = AlertRule.objects.filter(kind=RuleKind.PROVIDER_REFUSED, enabled=True).order_by("pk")
    return sum(_look_for(rule, now) for rule in rules)


def _look_for(rule: AlertRule, now: datetime) -> int:
    refused = Provider.objects.filter(
        organization_id=rule.organization_id,
        enabled=True,
        refused_since__isnull=False,
        last_error_at__gte=rule.armed_at,
    )
    began = 0
    for row in refused.order_by("pk"):
        lately = Alert.objects.filter(rule_id=rule.pk, subject=row.pk, created_at__gt=now - WITHIN)
        if row.refused_since is not None and lately.count() < MOST_EPISODES:
            began += begin(rule, _occurrence(row, row.refused_since)) is not None
    return began


def _occurrence(row: Provider, since: datetime) -> Occurrence:
    return Occurrence(
        subject_kind="provider",
        subject=row.pk,
        window_key=_episode(since),
        title=f"{row.name} refuses the organization's credential: {row.last_error}",
        happened_at=since,
        facts=(
            ("Provider", f"{row.name} ({KINDS[ProviderKind(row.kind)].label})"),
            ("It says", row.last_error),
            ("Since", f"{since:%Y-%m-%d %H:%M:%S} UTC"),
            ("Credential", f"••••{row.credential_last4}"),
            ("Meanwhile", "its requests fail with 502, in words that name the provider and whom to ask"),
            ("What to do", "test the provider; enter a working credential, or settle the account there"),
        ),
        data={"provider_id": row.pk, "provider": row.name, "error": row.last_error},
    )


def _episode(since: datetime) -> str:
    return f"since:{since:%Y-%m-%dT%H:%M:%S.%f}"


def end_mended() -> int:
    """Open alerts whose provider no longer refuses, or is off. How many."""
    ended = 0
    alerts = Alert.objects.filter(kind=RuleKind.PROVIDER_REFUSED, state=AlertState.OPEN).order_by("pk")
    some = list(alerts[:ROWS_AT_A_TIME])
    while some:
        ended += sum(end(alert, why) for alert, why in _over(some))
        some = list(alerts.filter(pk__gt=some[-1].pk)[:ROWS_AT_A_TIME])
    return ended


def _over(alerts: list[Alert]) -> Iterator[tuple[Alert, str]]:
    providers = Provider.objects.in_bulk({alert.subject for alert in alerts})
    for alert in alerts:
        row = providers.get(alert.subject)
        if row is None or not row.enabled:
            yield alert, "The provider is gone or off."
        elif row.refused_since is None or _episode(row.refused_since) != alert.window_key:
            yield alert, "The provider serves again, or has another credential."
