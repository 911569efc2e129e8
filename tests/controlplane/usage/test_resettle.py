"""A corrected price: what is found, what is written, that nothing is written twice and nothing changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from controlplane.budgets import lease_sessions
from controlplane.budgets.models import Account, Charge
from controlplane.changes.change_set import change_set
from controlplane.changes.models import AuditEvent
from controlplane.providers.models import PriceList
from controlplane.tenancy.models import Role
from controlplane.tenancy.permissions import Forbidden
from controlplane.usage.models import UsageRecord
from controlplane.usage.resettle import resettle
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.budgets.test_answers import ref_of
from tests.controlplane.factories import SYSTEM
from tests.controlplane.usage.records import admitted, booked, record
from tests.controlplane.usage.test_reconcile import PRICES
from tests.controlplane.usage.test_settlement import drawing, lease

pytestmark = pytest.mark.django_db
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def house() -> Any:
    """A provider, a budget, and two attempts of 100 input and 10 output tokens, priced at $1 and $1 per million."""
    provider = factories.provider()
    budget = factories.budget(provider.organization)
    lease(ref_of(budget))
    with change_set(SYSTEM):
        PriceList(version="v2", prices=PRICES).save()
    for number in (1, 2):
        fields = drawing(
            ref_of(budget),
            organization_id=provider.organization_id,
            provider_id=provider.pk,
            units={"input": 100, "output": 10},
            cost_nano=110_000,
        )
        booked(record(f"req_{number}", **fields), first=number)
    return provider.organization


RIGHT = 100 * 3_000 + 10 * 15_000


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(house: Any) -> None:
    found = resettle(house, by=SYSTEM, since=SINCE, apply=False)
    assert (found.looked_at, found.attempts, found.difference_nano) == (2, 2, 2 * (RIGHT - 110_000))
    assert UsageRecord.objects.count() == 2
    assert Charge.objects.count() == 2


def test_differences_become_rows_and_the_accounts_follow(house: Any) -> None:
    before = list(UsageRecord.objects.order_by("pk").values())
    resettle(house, by=SYSTEM, since=SINCE, apply=True)
    assert list(UsageRecord.objects.filter(correction=False).order_by("pk").values()) == before
    added = UsageRecord.objects.filter(correction=True)
    assert set(added.values_list("resettled", "cost_nano", "price_version", "input_tokens")) == {
        (1, RIGHT - 110_000, "v2", 0)
    }
    assert Account.objects.get().settled_nano == 2 * RIGHT
    assert sum(Charge.objects.values_list("amount_nano", flat=True)) == 2 * RIGHT
    assert lease_sessions.problems() == []
    event = AuditEvent.objects.get(action="usage.resettled")
    assert (event.target_id, event.details["attempts"]) == (house.pk, 2)
    assert resettle(house, by=SYSTEM, since=SINCE, apply=True).attempts == 0


def test_a_second_correction_adds_to_the_first(house: Any) -> None:
    resettle(house, by=SYSTEM, since=SINCE, apply=True)
    row = PriceList.objects.get()
    row.prices[0]["cards"][0]["tiers"][0]["rates_pico"] = {"input": 1_000_000, "output": 1_000_000}
    with change_set(SYSTEM):
        row.version = "v3"
        row.save()
    found = resettle(house, by=SYSTEM, since=SINCE, apply=True)
    assert (found.attempts, found.difference_nano) == (2, 2 * (110_000 - RIGHT))
    assert Account.objects.get().settled_nano == 2 * 110_000
    assert set(Charge.objects.values_list("correction", flat=True)) == {0, 1, 2}


def test_only_what_was_asked_for_and_only_what_has_a_price(house: Any) -> None:
    assert resettle(house, by=SYSTEM, since=SINCE, model="other", apply=True).looked_at == 0
    assert resettle(house, by=SYSTEM, since=SINCE, until=SINCE + timedelta(days=1), apply=True).looked_at == 0
    booked(record("req_3", organization_id=house.pk, model="nobody-knows", provider_kind="openai"), first=3)
    booked(admitted("req_4", organization_id=house.pk), first=4)
    assert resettle(house, by=SYSTEM, since=SINCE, apply=False).attempts == 2
    other = factories.organization()
    assert resettle(other, by=SYSTEM, since=SINCE, apply=True).looked_at == 0
    viewer, _ = factories.member(house, Role.VIEWER)
    with pytest.raises(Forbidden):
        resettle(house, by=viewer, since=SINCE, apply=True)


def test_the_command_shows_first_and_writes_when_told(house: Any, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("resettle", house.slug, "--since", "2026-01-01")
    assert "2 attempts priced anew, 2 would be corrected" in capsys.readouterr().out
    call_command("resettle", house.pk, "--since", "2026-01-01T00:00:00+00:00", "--apply")
    assert "2 corrected" in capsys.readouterr().out
    with pytest.raises(CommandError, match="not a time"):
        call_command("resettle", house.pk, "--since", "yesterday")
    with pytest.raises(CommandError, match="no such organization"):
        call_command("resettle", "nobody", "--since", "2026-01-01")


def test_what_other_models_used_is_priced_again_at_the_place_and_the_tier_of_the_answer(house: Any) -> None:
    row = PriceList.objects.get()
    row.prices[0]["geo_percent"] = {"us": 110}
    with change_set(SYSTEM):
        row.save()
    first = UsageRecord.objects.get(request_id="req_1")
    part = wire.UsagePart(model=first.model, units={"input": 200}, kind="advisor_message")
    fields: dict[str, Any] = {"organization_id": house.pk, "provider_id": first.provider_id}
    units = {"input": 100, "output": 10}
    booked(record("req_5", **fields, units=units, parts=[part], geo="us", cost_nano=0), first=5)
    found = resettle(house, by=SYSTEM, since=SINCE, apply=True)
    assert found.difference_nano == 2 * (RIGHT - 110_000) + (RIGHT + 200 * 3_000) * 110 // 100
    assert resettle(house, by=SYSTEM, since=SINCE, apply=True).attempts == 0
