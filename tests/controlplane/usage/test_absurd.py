"""Two thousand absurd answers, and what is read, said and decided after them: nothing breaks, on either database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from controlplane.alerts import budget_watch, spend_watch, usage_watch
from controlplane.alerts.models import RuleKind
from controlplane.budgets import actions, answers, lease_sessions
from controlplane.budgets.answers import PodMessage
from controlplane.budgets.models import Account, Budget
from controlplane.tenancy import actions as tenancy
from controlplane.usage import lost, reconcile
from controlplane.usage.models import DeadLetter, RecordState, UsageRecord
from controlplane.usage.queries import By, total, totals
from controlplane.usage.resettle import resettle
from dataplane.core.money.amounts import MOST_NANO
from dataplane.core.money.messages import AccountRef, AccountReport, Ask, AskItem, AskKind, Grant, Hello, Report
from dataplane.wire.holds import to_pod
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.alerts import world as alerts_world
from tests.controlplane.budgets.test_answers import ref_of
from tests.controlplane.console.test_who_sees_what import PAGES, client_of, model_of
from tests.controlplane.console.world import Tenant, World, world
from tests.controlplane.usage.records import admitted, booked
from tests.hostile.pod import ABSURD, UNFIT
from tests.hostile.pod import answers as absurd_answers

pytestmark = pytest.mark.django_db
DOLLAR = 10**9
LARGEST = 2**63 - 1
HALF = 1_000


def drawn(*refs: AccountRef) -> list[wire.AccountRef]:
    return [wire.AccountRef(budget_id=ref[0], member_id=ref[1], window_key=ref[2]) for ref in refs]


def owner(of: Tenant) -> dict[str, str]:
    return {
        "organization_id": of.organization.pk, "team_id": of.team.pk, "project_id": of.project.pk,
        "principal_id": of.principal.pk, "key_id": of.key.pk, "provider_id": of.provider.pk, "provider_kind": "openai",
    }  # fmt: skip


class Flooded:
    """An organization whose provider tells absurd figures, on a budget that only warns, and one that is like any."""

    def __init__(self) -> None:
        self.world: World = world()
        self.own, self.other = self.world.own, self.world.foreign
        self.warned: Budget = factories.budget(self.own.key, on_breach="warn", limit_nano=DOLLAR, thresholds=[50, 100])
        self.fair: Budget = factories.budget(self.other.key, limit_nano=2 * DOLLAR)
        self.warned_ref, self.fair_ref = ref_of(self.warned), ref_of(self.fair)
        now_ms = int(timezone.now().timestamp() * 1000)
        fields = owner(self.own) | {"accounts": drawn(self.warned_ref), "started_at_ms": now_ms - 60_000}
        records = [
            *absurd_answers(HALF, ABSURD, **fields),
            *absurd_answers(HALF, UNFIT, **fields),
        ]
        for number, record in enumerate(records[HALF:]):
            record.request_id = record.request_id and f"{record.request_id}_unfit_{number}"[:70]
        self.acks = [
            booked(*records[start : start + 250], first=start + 1, session="absurd")
            for start in range(0, 2 * HALF, 250)
        ]

    def operator(self) -> Client:
        return client_of(self.world.operator)


@pytest.fixture
def flooded() -> Flooded:
    return Flooded()


def test_what_can_be_booked_is_and_the_rest_is_put_aside_and_every_batch_acknowledged(flooded: Flooded) -> None:
    assert [ack.through_seq for ack in flooded.acks] == list(range(250, 2001, 250))
    rows = UsageRecord.objects.filter(session_id="absurd")
    assert (rows.count(), set(rows.values_list("state", flat=True))) == (HALF, {RecordState.FINAL})
    assert DeadLetter.objects.count() == HALF
    account = Account.objects.get(budget_id=flooded.warned.pk)
    assert account.settled_nano == MOST_NANO


def test_sums_stay_numbers(flooded: Flooded) -> None:
    rows = UsageRecord.objects.filter(session_id="absurd")
    whole = total(rows)
    assert (whole.attempts, whole.cost_nano, whole.output_tokens) == (HALF, LARGEST, LARGEST)
    assert {by: sum(group.attempts for group in totals(rows, by)) for by in By} == dict.fromkeys(By, HALF)
    assert resettle(
        flooded.own.organization, by=factories.SYSTEM, since=timezone.now() - timedelta(days=1), apply=False
    )
    assert total(rows.none()).cost_nano == 0


def test_every_page_and_every_read_still_answers(flooded: Flooded) -> None:
    client = flooded.operator()
    for name, route in PAGES.items():
        row = flooded.own.rows.get(model_of(name)) if "_" in name else None
        if "object_id" in route and (row is None or not name.endswith(("_change", "_history"))):
            continue
        if "object_id" not in route and not name.endswith(("_changelist", "_export", "index")):
            continue
        arguments = [quote(row.pk)] if "object_id" in route and row is not None else None
        assert client.get(reverse(f"admin:{name}", args=arguments)).status_code in (200, 302, 403), name
    for budget in (flooded.warned, flooded.fair):
        assert client.get(reverse("admin:budgets_budget_change", args=[quote(budget.pk)])).status_code == 200
    _, token = tenancy.mint_token(by=factories.SYSTEM, organization=flooded.own.organization, name="reader")
    headers = {"Authorization": f"Bearer {token.reveal().decode()}"}
    reads = ["usage", "budgets", "budget-accounts", "budget-crossings", f"budgets/{flooded.warned.pk}", "virtual-keys"]
    reads += [f"usage/totals?by={by.value}&order={order}&limit=1" for by in By for order in ("cost", "of")]
    for read in reads:
        answer = client.get(f"/api/v1/{read}", headers=headers)
        assert answer.status_code == 200, (read, answer.content)
        after = answer.json().get("next_cursor")
        if after and "totals" in read:
            assert client.get(f"/api/v1/{read}&cursor={after}", headers=headers).status_code == 200, read


def test_watches_sweeps_and_looks_go_on(flooded: Flooded) -> None:
    for kind in (RuleKind.BUDGET_THRESHOLD, RuleKind.SPEND_VELOCITY, RuleKind.UNPRICED_MODEL, RuleKind.LOST_USAGE):
        alerts_world.rule(flooded.own.organization, kind)
    account = Account.objects.get(budget_id=flooded.warned.pk)
    later = timezone.now() + timedelta(seconds=1)
    assert spend_watch.look(later) == 1
    budget_watch.look(later)
    usage_watch.look(later)
    lost.estimate_lost()
    reconcile.mark_used()
    assert [problem for problem in lease_sessions.problems() if f"account {account.pk}:" in problem] == []


def say(message: Any, session: str) -> Any:
    (answer,) = answers.answer([PodMessage(session, f"pod-{session}", "", message)])
    return wire.HoldDown.FromString(answer) if isinstance(answer, bytes) else answer


def report(*refs: AccountRef) -> Report:
    return Report(1, tuple(AccountReport(ref, -(10**19), 0, 10**19, 10**19, 0, DOLLAR) for ref in refs), ())


def test_pods_are_answered_about_every_account_and_forget_what_is_deleted(flooded: Flooded) -> None:
    refs = flooded.warned_ref, flooded.fair_ref
    welcome = say(Hello("s1", report(*refs).accounts), "s1").welcome
    assert {account.account.budget_id for account in welcome.accounts} == {flooded.warned.pk, flooded.fair.pk}
    (ack,) = say(report(*refs), "s1").report_acks
    assert len(ack.accounts) == 2
    actions.delete_budget(flooded.warned, by=factories.SYSTEM)
    (ack,) = say(report(*refs), "s1").report_acks
    assert [gone.budget_id for gone in ack.gone] == [flooded.warned.pk]
    welcome = say(Hello("s2", report(*refs).accounts), "s2").welcome
    assert [gone.budget_id for gone in welcome.gone] == [flooded.warned.pk]
    item = AskItem(flooded.fair_ref, DOLLAR, DOLLAR, 0)
    (grant,) = say(Ask(1, AskKind.ADMIT, "r", 0, (item,)), "s2").grants
    assert grant.items[0].granted_cum == DOLLAR


def test_an_account_that_was_broken_before_is_read_all_the_same(flooded: Flooded) -> None:
    """SQLite keeps a sum beyond 64 bits as a real number."""
    broken = 1.5e19 if connection.vendor == "sqlite" else 2**62
    with connection.cursor() as cursor:
        cursor.execute("UPDATE budgets_account SET settled_nano = %s, excess_nano = %s", [broken, broken])
    (welcome,) = [say(Hello("s1", report(flooded.warned_ref, flooded.fair_ref).accounts), "s1").welcome]
    assert welcome.accounts[0].state.settled_nano == MOST_NANO
    assert isinstance(say(report(flooded.warned_ref), "s1"), wire.HoldDown)


def test_one_account_that_cannot_be_answered_for_costs_nobody_else_the_answer(
    flooded: Flooded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is overlooked."""

    say(Hello("s1", ()), "s1")
    real = to_pod

    def breaks(message: Any) -> Any:
        items = getattr(message, "accounts", ()) or getattr(message, "items", ())
        if any(item.account == flooded.warned_ref for item in items):
            raise ValueError("an amount that no field holds")
        return real(message)

    monkeypatch.setattr("controlplane.budgets.answers.to_pod", breaks)
    batch = [
        PodMessage("s1", "p", "", report(flooded.warned_ref, flooded.fair_ref)),
        PodMessage("s1", "p", "", Ask(1, AskKind.ADMIT, "r", 0, (AskItem(flooded.fair_ref, DOLLAR, DOLLAR, 0),))),
    ]
    reported, granted = answers.answer(batch)
    assert isinstance(reported, bytes)
    accounts = [item for ack in wire.HoldDown.FromString(reported).report_acks for item in ack.accounts]
    assert [item.account.budget_id for item in accounts] == [flooded.fair.pk]
    assert isinstance(granted, bytes)
    assert isinstance(answers.reply_from(granted), Grant)


def test_an_end_that_cannot_be_booked_ends_its_attempt_as_an_estimate(flooded: Flooded) -> None:
    fields = owner(flooded.own) | {"accounts": drawn(flooded.warned_ref), "reserved_nano": 7}
    booked(admitted("req_a", **fields), session="s")
    bad = next(absurd_answers(1, ({"units": {"output": -1}},), **fields))
    bad.request_id = "req_a"
    ack = booked(bad, session="s", first=2)
    assert list(ack.dead_lettered) == ["req_a"]
    row = UsageRecord.objects.get(request_id="req_a")
    assert (row.state, row.cost_nano) == (RecordState.ESTIMATED, 7)
