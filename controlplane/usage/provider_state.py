"""What ended attempts say of their providers: refused, or served again. The provider's row hears of it when it changes.

It is a state beside the configuration, in the transaction that books the attempts: whatever comes twice, late or in
another order leaves the same state. A record touches no provider but its own organization's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from controlplane.budgets.crossings import tell_listeners
from controlplane.providers.models import LONGEST_ERROR, Provider
from controlplane.usage.models import UsageRecord
from dataplane.core.errors import Code
from dataplane.core.usage import Outcome, UsageSource

REPEATED = timedelta(seconds=60)  # how often a refusal that goes on is written down again
SERVED = (UsageSource.PROVIDER.value, UsageSource.METERED.value)  # who counted what a provider gave

NO_WORDS = "no reason given"

Owned = tuple[str, str]  # organization, provider


@dataclass(slots=True)
class Sighting:
    """The last refusal by a provider, and the last answer. When the attempt began counts: what was asked before a
    change says nothing of what came after."""

    refused_at: datetime | None = None
    words: str = ""
    served_at: datetime | None = None


def notice(ended: Iterable[UsageRecord]) -> None:
    """Inside the transaction that books these attempts."""
    sightings = _sightings(ended, timezone.now())
    if not sightings:
        return
    changed = False
    for row in Provider.objects.filter(pk__in={provider for _, provider in sightings}).order_by("pk"):
        sighting = sightings.get((row.organization_id, row.pk))
        if sighting is not None:
            changed |= _write(row, sighting)
    if changed:
        transaction.on_commit(tell_listeners)


def _is_held(row: Provider) -> bool:
    """By somebody who changes it, or forgot that he did: no record waits for that, and the next one says it again."""
    free = Provider.objects.select_for_update(skip_locked=True, no_key=True).filter(pk=row.pk)
    return not list(free.values_list("pk", flat=True))


def _sightings(ended: Iterable[UsageRecord], now: datetime) -> Mapping[Owned, Sighting]:
    sightings: dict[Owned, Sighting] = {}
    for row in ended:
        at = min(row.started_at, now)  # a pod's clock may be ahead
        if row.refusal_code == Code.PROVIDER_CREDENTIAL_REFUSED:
            sighting = sightings.setdefault((row.organization_id, row.provider_id), Sighting())
            if sighting.refused_at is None or at >= sighting.refused_at:
                sighting.refused_at, sighting.words = at, row.provider_error[:LONGEST_ERROR] or NO_WORDS
        elif row.provider_id and row.outcome == Outcome.OK and row.source in SERVED:
            sighting = sightings.setdefault((row.organization_id, row.provider_id), Sighting())
            sighting.served_at = max(sighting.served_at or at, at)
    return sightings


def _write(row: Provider, sighting: Sighting) -> bool:
    """Whether the row says something else now."""
    as_read = Provider.objects.filter(pk=row.pk, refused_since=row.refused_since, last_error_at=row.last_error_at)
    refused_at, served_at = sighting.refused_at, sighting.served_at
    if refused_at is not None and (served_at is None or refused_at > served_at):
        if not _is_news(row, refused_at, sighting.words):
            return False
        since = row.refused_since or refused_at
        news = {"refused_since": since, "last_error": sighting.words, "last_error_at": refused_at}
        return not _is_held(row) and bool(as_read.update(**news))
    if served_at is not None and row.last_error_at is not None and served_at > row.last_error_at:
        columns = row.mended(served_at)
        return not _is_held(row) and bool(as_read.update(**{name: getattr(row, name) for name in columns}))
    return False


def _is_news(row: Provider, at: datetime, words: str) -> bool:
    if row.last_error_at is not None:
        return at > row.last_error_at and (words != row.last_error or at - row.last_error_at >= REPEATED)
    if row.mended_at is not None and at <= row.mended_at:
        return False
    later = UsageRecord.objects.filter(organization_id=row.organization_id, provider_id=row.pk, started_at__gt=at)
    return not later.filter(outcome=Outcome.OK.value, source__in=SERVED).exists()
