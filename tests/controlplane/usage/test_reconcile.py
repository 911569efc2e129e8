"""What nobody reported: estimates, their prices and their corrections; when keys were used; what is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.core.management import call_command
from django.utils import timezone

from controlplane.changes.change_set import change_set
from controlplane.changes.models import AuditEvent, Revision
from controlplane.fleet.models import Pod
from controlplane.providers.models import PriceList
from controlplane.usage import lost, reconcile, tasks
from controlplane.usage.models import DeadLetter, ReportSession, UsageRecord
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM
from tests.controlplane.usage.records import admitted, booked, ledger, record

PRICES = [
    {
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "match": ["claude-sonnet-4-5*"],
        "cards": [
            {
                "service_tier": "",
                "speed": "",
                "valid_from_ms": 0,
                "valid_until_ms": 0,
                "tiers": [{"above_input_tokens": 0, "rates_pico": {"input": 3_000_000, "output": 15_000_000}}],
            }
        ],
    }
]


def price_list(**fields: Any) -> PriceList:
    made = PriceList(version="v1", prices=PRICES, **fields)
    with change_set(SYSTEM):
        made.save()
    return made


def age(**by: float) -> None:
    UsageRecord.objects.update(received_at=timezone.now() - timedelta(**by))


@pytest.mark.django_db
def test_an_admission_nobody_finished_is_estimated_from_its_input_once_it_is_older_than_any_stream() -> None:
    price_list()
    provider = factories.provider()
    booked(admitted(provider_id=provider.pk, provider_kind="anthropic", organization_id=provider.organization_id))
    age(seconds=950)
    assert lost.estimate_lost() == 0
    age(seconds=970)
    assert lost.estimate_lost() == 1
    row = UsageRecord.objects.get()
    assert (row.state, row.outcome, row.source, row.units) == ("estimated", "failed", "estimated", {"input": 50})
    assert (row.cost_nano, row.priced, row.price_version) == (50 * 3000, True, "v1")
    assert lost.estimate_lost() == 0


@pytest.mark.django_db
def test_an_unknown_model_of_a_deleted_provider_is_estimated_as_its_dearest_relative() -> None:
    price_list()
    booked(admitted(provider_id="prov_gone", provider_kind="anthropic", model="claude-sonnet-9"))
    age(seconds=970)
    lost.estimate_lost()
    assert UsageRecord.objects.get().cost_nano == 50 * 3000


@pytest.mark.django_db
def test_without_any_price_an_estimate_says_that_it_has_none() -> None:
    booked(admitted(provider_kind="anthropic"))
    age(seconds=970)
    lost.estimate_lost()
    row = UsageRecord.objects.get()
    assert (row.state, row.cost_nano, row.priced) == ("estimated", 0, False)


@pytest.mark.django_db
def test_the_sum_over_all_rows_is_what_was_used_even_when_the_end_comes_after_the_estimate() -> None:
    price_list()
    booked(admitted(provider_kind="anthropic"))
    age(seconds=970)
    lost.estimate_lost()
    booked(record(cost_nano=700), first=2)
    assert sum(row[5] for row in ledger()) == 700
    assert sum(row[6] for row in ledger()) == 120
    assert [row[3] for row in ledger()] == ["corrected", "final"]
    assert lost.estimate_lost() == 0


def pod(session: str, *, silent_s: int, state: str = "ready") -> None:
    at = timezone.now() - timedelta(seconds=silent_s)
    Pod.objects.create(
        pod_id=session, session_id=session, stream_id="x", name="p", version="1", first_seen_at=at,
        last_heartbeat_at=at, connected=False, state=state,
    )  # fmt: skip


@pytest.mark.django_db
def test_the_admissions_of_a_dead_pod_are_estimated_soon() -> None:
    pod("alive", silent_s=1)
    pod("dead", silent_s=200)
    pod("cut-off", silent_s=100)
    pod("gone", silent_s=100, state="gone")
    for session in ("dead", "cut-off", "gone", "unknown"):
        booked(admitted(f"req_{session}"), session=session)
    assert lost.estimate_lost() == 0
    age(seconds=61)
    assert lost.estimate_lost() == 2
    states = dict(UsageRecord.objects.values_list("session_id", "state"))
    assert states == {"dead": "estimated", "gone": "estimated", "cut-off": "admitted", "unknown": "admitted"}


@pytest.mark.django_db
def test_no_pod_is_taken_for_dead_while_nobody_hears_any() -> None:
    pod("one", silent_s=2000)
    pod("two", silent_s=2010)
    booked(admitted(), session="two")
    age(seconds=500)
    assert lost.estimate_lost() == 0


def test_workers_that_sweep_at_once_estimate_every_attempt_once(in_threads: Callable[..., Any]) -> None:
    booked(*[admitted(f"req_{number}") for number in range(50)])
    age(seconds=970)
    settled = in_threads(lambda _: lost.estimate_lost(), [1, 2, 3, 4])
    assert sum(settled) == 50
    assert {row[3] for row in ledger()} == {"estimated"}


@pytest.mark.django_db
def test_keys_learn_when_they_were_used_without_a_revision_or_an_audit_event() -> None:
    key, other = factories.key(), factories.key()
    before = (Revision.objects.get().value, AuditEvent.objects.count())
    owned = {"key_id": key.pk, "organization_id": key.organization_id}
    booked(record("a", **owned), record("b", **owned, started_at_ms=1_795_000_050_000))
    UsageRecord.objects.update(received_at=timezone.now())
    assert reconcile.mark_used() == 1
    key.refresh_from_db()
    other.refresh_from_db()
    assert key.last_used_at is not None
    assert int(key.last_used_at.timestamp()) in (1_795_000_050, int(timezone.now().timestamp()))
    assert other.last_used_at is None
    assert reconcile.mark_used() == 0
    assert (Revision.objects.get().value, AuditEvent.objects.count()) == before


@pytest.mark.django_db
def test_records_past_their_retention_are_forgotten() -> None:
    booked(record("old"), record("new"))
    UsageRecord.objects.filter(request_id="old").update(started_at=timezone.now() - timedelta(days=401))
    UsageRecord.objects.filter(request_id="new").update(started_at=timezone.now() - timedelta(days=399))
    assert reconcile.forget_old() == 1
    assert [row[0] for row in ledger()] == ["new"]
    ReportSession.objects.update(last_at=timezone.now() - timedelta(days=401))
    DeadLetter.objects.create(session_id="s", seq=1, received_at=timezone.now() - timedelta(days=401), content=b"")
    assert reconcile.forget_old() == 2


@pytest.mark.django_db
def test_the_command_does_what_the_tasks_do() -> None:
    booked(admitted(started_at_ms=int(timezone.now().timestamp() * 1000)))
    age(seconds=970)
    call_command("reconcile")
    assert ledger()[0][3] == "estimated"


def test_beat_starts_every_task_that_is_scheduled() -> None:
    current_app.finalize()
    for entry in tasks.SCHEDULE.values():
        assert entry["task"] in current_app.tasks
