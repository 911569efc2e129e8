"""Figures that are seen later: of background jobs, and of answers that broke off while their provider went on.

The request was charged when it ended, with what was held for it. Whoever sees the figures first (a poll with whichever
key, `/cancel`, a stream that is taken up again, or we ourselves: `asking`) has them booked: as a row of the
differences, once, on the accounts that the request drew on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from controlplane.budgets.charges import book_costs, next_correction
from controlplane.budgets.months import month_of
from controlplane.usage.booking import correct
from controlplane.usage.costs import cost_of
from controlplane.usage.estimate import Estimator
from controlplane.usage.kept_models import KeptAnswer
from controlplane.usage.models import RecordState, UsageRecord
from controlplane.usage.records import set_units
from dataplane.core.usage import UsageSource

ASK_AFTER: Final = timedelta(minutes=1)  # whoever started the job polls it, normally
KEPT_FOR: Final = timedelta(days=32)  # OpenAI keeps answers for 30 days
ROWS_AT_A_TIME: Final = 500
_FIGURES: Final = ("source", "units", "parts", "unknown_calls", "raw_usage", "service_tier", "speed", "geo")


def note(rows: Sequence[UsageRecord], now: datetime) -> None:
    """Of records that were just booked: remembers answers without figures, and books figures that were seen.

    In the caller's transaction.
    """
    for row in sorted((row for row in rows if row.kept_id), key=lambda row: (row.organization_id, row.kept_id)):
        if row.seen is not None:
            see(_find(row, now), figures_of(row.seen), row.model_reported)
        elif row.state == RecordState.FINAL and row.source not in (UsageSource.PROVIDER.value, UsageSource.NONE.value):
            _remember(row, now)


def figures_of(row: UsageRecord) -> dict[str, Any]:
    """What of a row says what was used, as JSON."""
    return {name: getattr(row, name) for name in _FIGURES}


def see(kept: KeptAnswer, figures: Mapping[str, Any], model: str) -> None:
    """These are the answer's figures. Again: nothing. The caller holds the lock of `kept`."""
    if kept.settled:
        return
    if not kept.request_id:
        kept.seen = {**figures, "model_reported": model}
        kept.save(update_fields=["seen"])
        return
    kept.settled, kept.seen, kept.ask_at = True, None, None
    kept.save(update_fields=["settled", "seen", "ask_at"])
    first = UsageRecord.objects.select_for_update().filter(
        request_id=kept.request_id, month=month_of(kept.request_id), attempt=kept.attempt, correction=False
    )
    for begun in first.filter(state__in=[RecordState.FINAL, RecordState.ESTIMATED]):
        if begun.source != UsageSource.PROVIDER.value:
            _correct(begun, figures, model)


def forget_old(now: datetime) -> int:
    """What no provider keeps any more. Returns how many."""
    past = KeptAnswer.objects.filter(created_at__lt=now - KEPT_FOR)
    return KeptAnswer.objects.filter(pk__in=list(past.values_list("pk", flat=True)[:ROWS_AT_A_TIME])).delete()[0]


def _correct(begun: UsageRecord, figures: Mapping[str, Any], model: str) -> None:
    final = copy.copy(begun)
    final._state = copy.copy(begun._state)
    final._state.adding = True
    final.state, final.why, final.unconfirmed = RecordState.FINAL, "", False
    final.received_at = timezone.now()
    final.model_reported = model or begun.model_reported
    for name in _FIGURES:
        setattr(final, name, figures[name])
    set_units(final, figures["units"], figures["parts"])
    priced = Estimator([final]).priced(final)
    if priced is None:
        return  # what was held stays
    final.cost_nano, final.priced, final.price_version = priced.nano, True, priced.version
    cost = cost_of(final, correction=next_correction(final.request_id, final.attempt)).less(begun.cost_nano)
    correct(begun, final)
    book_costs([cost])


def _find(row: UsageRecord, now: datetime) -> KeptAnswer:
    """The row of the answer that this record is about, locked; made where it comes first."""
    place = {"organization_id": row.organization_id, "provider_id": row.provider_id, "object_id": row.kept_id}
    KeptAnswer.objects.bulk_create([KeptAnswer(**place, created_at=now)], ignore_conflicts=True)
    return KeptAnswer.objects.select_for_update().get(**place)


def _remember(row: UsageRecord, now: datetime) -> None:
    kept = _find(row, now)
    if kept.request_id >= row.request_id:
        return  # reported again; ids grow with time
    seen = None if kept.request_id else kept.seen
    kept.request_id, kept.attempt, kept.goes_on = row.request_id, row.attempt, row.goes_on
    kept.settled, kept.created_at, kept.questions = False, now, 0
    kept.ask_at = now + ASK_AFTER
    kept.save()
    if seen is not None:
        figures = dict(seen)
        see(kept, figures, figures.pop("model_reported"))


def outstanding(now: datetime, most: int) -> Iterable[KeptAnswer]:
    """Those that are due to be asked for."""
    return KeptAnswer.objects.filter(settled=False, ask_at__lte=now).exclude(request_id="").order_by("ask_at")[:most]
