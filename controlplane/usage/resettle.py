"""After a price was corrected: what attempts should have cost, as differences in rows of their own.

Nothing that was written changes. Attempts whose usage the provider reported or the pod metered are priced anew by the
list that applies to their organization now; estimates are left to the reports that correct them. Done again, it finds
nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from controlplane.budgets.charges import book_costs, next_correction
from controlplane.budgets.months import started_between
from controlplane.budgets.sums import SaturatedSum
from controlplane.changes.actor import Actor
from controlplane.changes.audit import Draft
from controlplane.changes.change_set import change_set
from controlplane.changes.ids import new_id
from controlplane.changes.row import AuditTarget
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Verb, require
from controlplane.usage.costs import cost_of
from controlplane.usage.estimate import Estimator
from controlplane.usage.models import RecordState, UsageRecord
from controlplane.usage.records import set_units

ROWS_AT_A_TIME = 200


@dataclass(frozen=True, slots=True)
class Resettlement:
    """`attempts` that cost something else by the list in force, and by how much more in total (less: below zero)."""

    looked_at: int
    attempts: int
    difference_nano: int


def resettle(
    organization: Organization,
    *,
    by: Actor,
    since: datetime,
    until: datetime | None = None,
    model: str = "",
    apply: bool,
) -> Resettlement:
    """Attempts that started in [since, until). Without `apply` nothing is written."""
    require(by, Verb.PRICE_CHANGE, organization)
    looked_at = attempts = difference = 0
    for keys in _in_steps(organization, since, until or timezone.now(), model):
        with transaction.atomic():
            for change in _differences(keys):
                looked_at += 1
                if change is None:
                    continue
                attempts, difference = attempts + 1, difference + change.cost_nano
                if apply:
                    UsageRecord.objects.bulk_create([change])
                    correction = next_correction(change.request_id, change.attempt)
                    book_costs([cost_of(change, correction=correction)])
    if apply and attempts:
        _note(organization, by, attempts, difference, since, model)
    return Resettlement(looked_at, attempts, difference)


def _in_steps(organization: Organization, since: datetime, until: datetime, model: str) -> Iterator[list[str]]:
    """Primary keys of first rows, some at a time, by time."""
    rows = UsageRecord.objects.filter(
        started_between(since, until),
        organization_id=organization.pk,
        started_at__gte=since,
        started_at__lt=until,
        correction=False,
        state__in=[RecordState.FINAL, RecordState.CORRECTED],
    )
    if model:
        rows = rows.filter(model=model)
    keys = list(rows.order_by("request_id", "attempt").values_list("pk", flat=True))
    for start in range(0, len(keys), ROWS_AT_A_TIME):
        yield keys[start : start + ROWS_AT_A_TIME]


def _differences(keys: list[str]) -> Iterator[UsageRecord | None]:
    """For each attempt the row that has to be added; None where it is right as it stands. Locks the first rows."""
    locked = UsageRecord.objects.select_for_update().filter(pk__in=keys).order_by("request_id", "attempt")
    first = list(locked)
    estimator = Estimator(first)
    for row in first:
        reported = row
        entries = UsageRecord.objects.filter(request_id=row.request_id, month=row.month, attempt=row.attempt)
        if row.state == RecordState.CORRECTED:
            units = dict(row.units)
            for later in entries.filter(correction=True):
                reported = later if not later.resettled else reported
                for unit, count in later.units.items():
                    units[unit] = units.get(unit, 0) + count
            reported.units = units
        booked = entries.aggregate(cost=SaturatedSum("cost_nano"), last=Max("resettled"))
        priced = estimator.priced(reported)
        if priced is None or priced.nano == booked["cost"]:
            yield None
            continue
        yield _correction(
            reported, priced.nano - int(booked["cost"] or 0), priced.version, int(booked["last"] or 0) + 1
        )


def _correction(row: UsageRecord, difference: int, version: str, number: int) -> UsageRecord:
    row.pk = new_id("use")
    row.correction, row.resettled, row.state, row.received_at = True, number, RecordState.FINAL, timezone.now()
    set_units(row, {})
    row.unknown_calls = {}
    row.cost_nano, row.priced, row.price_version, row.raw_usage, row.reserved_nano = difference, True, version, "", 0
    row._state.adding = True
    return row


def _note(organization: Organization, by: Actor, attempts: int, difference: int, since: datetime, model: str) -> None:
    details = {"attempts": attempts, "difference_nano": difference, "since": since.isoformat(), "model": model}
    target = AuditTarget("organization", organization.pk, organization.name)
    with change_set(by) as change:
        change.note(Draft("usage.resettled", target, organization.pk, {}, {}, details))
