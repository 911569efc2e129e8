"""A row that somebody holds keeps the records waiting that are booked on it, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from controlplane.budgets import lease_sessions
from controlplane.budgets.models import Account, Budget, Charge
from controlplane.budgets.statements import is_locked
from controlplane.budgets.values import ms
from controlplane.fleet.calls.booking import HeldUp
from controlplane.usage import held_up, ingest, lost
from controlplane.usage.held_up import Held
from controlplane.usage.models import RecordState, ReportSession, UsageRecord
from dataplane.core.errors import Code
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.budgets.test_answers import ref_of
from tests.controlplane.fleet.test_hold import ACCOUNT, OPENING, somebody_holds
from tests.controlplane.usage.records import admitted, booked, record
from tests.controlplane.usage.test_claims import Speaker, of
from tests.controlplane.usage.test_settlement import drawing, pass_time

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Exception]]:
    """What the database said to whoever waited in vain."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no locks of rows")
    problems: list[Exception] = []

    def noting(problem: Exception) -> bool:
        problems.append(problem)
        return is_locked(problem)

    monkeypatch.setattr(ingest, "is_locked", noting)
    monkeypatch.setattr(held_up, "_held", Held())
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
        yield problems
        cursor.execute("SET lock_timeout = 0")


def warned(budget: Budget, name: str, **fields: Any) -> wire.UsageRecord:
    return record(name, cost_nano=7, **drawing(ref_of(budget), **fields))


def names() -> list[str]:
    return sorted(UsageRecord.objects.values_list("request_id", flat=True))


def through() -> int:
    return ReportSession.objects.get().through_seq


@pytest.mark.parametrize("held_by", [ACCOUNT, OPENING])
def test_the_rest_of_a_batch_is_booked_and_everything_once(held_by: str, waits: list[Exception]) -> None:
    held, free = factories.budget(on_breach="warn"), factories.budget(on_breach="warn")
    if held_by is ACCOUNT:
        booked(warned(held, "before"), session="another")
    told = [warned(free, "req_1"), warned(held, "req_2"), warned(free, "req_3"), record("req_4")]
    with somebody_holds(held_by, *([held.pk] if held_by is ACCOUNT else ref_of(held))):
        with pytest.raises(HeldUp) as problem:
            booked(*told)
        assert problem.value.ack.through_seq == 1
        assert [name for name in names() if name != "before"] == ["req_1", "req_3", "req_4"]
        assert ReportSession.objects.get(session_id="session-1").through_seq == 1
        assert len(waits) == 1
        for _ in range(3):  # nobody waits for it again
            with pytest.raises(HeldUp):
                booked(warned(held, "req_2"), warned(free, "req_5"), first=2)
        assert booked(warned(free, "req_6"), session="third").through_seq == 1
        assert len(waits) == 1
    assert booked(*told[1:], first=2).through_seq == 4
    assert not held_up.anything()
    assert dict(Account.objects.values_list("budget_id", "settled_nano")) == {
        held.pk: 7 * (1 + (held_by is ACCOUNT)),
        free.pk: 7 * 4,
    }
    assert Charge.objects.filter(request_id__in=["req_1", "req_2", "req_3"]).count() == 3
    assert (ReportSession.objects.get(session_id="session-1").missing, len(names())) == (0, 6 + (held_by is ACCOUNT))


def test_a_record_that_somebody_holds_keeps_no_other_waiting() -> None:
    booked(admitted("req_1"), admitted("req_2"))
    told = [record("req_1"), record("req_2")]
    with somebody_holds("SELECT 1 FROM usage_usagerecord WHERE request_id = %s FOR UPDATE", "req_1"):
        for _ in range(2):
            with pytest.raises(HeldUp) as problem:
                booked(*told, first=3)
            assert problem.value.ack.through_seq == 2
        assert UsageRecord.objects.get(request_id="req_2").state == RecordState.FINAL
    assert booked(*told, first=3).through_seq == 4
    assert set(UsageRecord.objects.values_list("state", flat=True)) == {RecordState.FINAL}
    assert not held_up.anything()


def test_a_provider_that_somebody_edits_keeps_no_record_waiting(waits: list[Exception]) -> None:
    provider = factories.provider()
    fields: dict[str, Any] = {"organization_id": provider.organization_id, "provider_id": provider.pk}
    fields |= {"started_at_ms": ms(timezone.now()), "refusal_code": Code.PROVIDER_CREDENTIAL_REFUSED.value}
    with somebody_holds("SELECT 1 FROM providers_provider FOR UPDATE"):
        assert booked(record("req_1", **fields)).through_seq == 1
    assert waits == []
    booked(record("req_2", **fields), first=2)
    provider.refresh_from_db()
    assert provider.refused_since is not None


def test_a_sweep_ends_what_it_can_while_somebody_holds_an_account() -> None:
    held, free = factories.budget(), factories.budget()
    for name, budget in (("a", held), ("b", free)):
        pod = Speaker(name)
        pod.lease(budget)
        pod.tell(admitted(f"req_{name}", reserved_nano=5, **of(budget, pod)))
    UsageRecord.objects.update(received_at=timezone.now() - timedelta(days=2))
    with somebody_holds(ACCOUNT, held.pk):
        assert lost.estimate_lost() == 1
    assert not Charge.objects.filter(request_id="req_a").exists()
    assert lost.estimate_lost() == 1
    assert dict(Account.objects.values_list("budget_id", "settled_nano")) == {held.pk: 5, free.pk: 5}


def test_a_silent_pods_sessions_do_not_wait_for_each_other() -> None:
    held, free = factories.budget(), factories.budget()
    for name, budget in (("a", held), ("b", free)):
        pod = Speaker(name)
        pod.lease(budget)
        pod.tell(admitted(f"req_{name}", reserved_nano=5, **of(budget, pod)))
    pass_time(300)
    with somebody_holds(ACCOUNT, held.pk):
        assert lost.expire_silent() == 1
    assert lost.expire_silent() == 1
    pass_time(3600)
    with somebody_holds(ACCOUNT, held.pk):
        assert lease_sessions.close_lost() == 1
    assert lease_sessions.close_lost() == 1
    assert list(Account.objects.values_list("settled_nano", "held_nano")) == [(5, 0)] * 2


def test_what_is_held_by_no_row_of_a_budget_is_tried_again_as_a_whole() -> None:
    budget = factories.budget(on_breach="warn")
    with somebody_holds("LOCK TABLE usage_usagerecord IN EXCLUSIVE MODE"), pytest.raises(OperationalError):
        booked(warned(budget, "req_1"))
    assert booked(warned(budget, "req_1")).through_seq == 1
    assert through() == 1


def test_a_first_record_that_has_to_wait_is_not_taken_for_a_spool_of_another() -> None:
    budget = factories.budget(on_breach="warn")
    with somebody_holds(OPENING, *ref_of(budget)), pytest.raises(HeldUp) as problem:
        booked(warned(budget, "req_1"))
    assert problem.value.ack.through_seq == 0
    assert not names()
