"""A pod's word about usage counts for its own requests, from its own spool, as far as it was granted them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from controlplane.budgets import actions, answers, lease_sessions
from controlplane.budgets.answers import PodMessage
from controlplane.budgets.models import Account, Budget, Lease, LeaseSession
from controlplane.budgets.values import ms
from controlplane.fleet.models import Pod, PodState
from controlplane.usage import ingest, lost
from controlplane.usage.models import DeadLetter, RecordState, ReportSession, UsageRecord
from dataplane.core.money.messages import Ask, AskItem, AskKind, Hello, LiveHold, Report, Return
from dataplane.core.request_ids import RequestIds
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.budgets.test_answers import ref_of
from tests.controlplane.usage.records import admitted, booked, record
from tests.controlplane.usage.test_settlement import drawing, pass_time

pytestmark = pytest.mark.django_db
DOLLAR = 10**9


class Speaker:
    """A pod with a certificate, a spool and a lease session of its own."""

    def __init__(self, name: str) -> None:
        self.name, self.leases, self.spool = name, f"leases-{name}", f"spool-{name}"
        self.asks = self.sent = 0
        self.say(Hello(self.leases, ()))

    def say(self, message: Any) -> Any:
        (answer,) = answers.answer([PodMessage(self.leases, self.name, self.name, message)])
        return answer

    def lease(self, budget: Budget, nano: int = DOLLAR) -> None:
        self.asks += 1
        item = AskItem(ref_of(budget), nano, nano, 0)
        self.say(Ask(self.asks, AskKind.ADMIT, f"r{self.asks}", 0, (item,)))

    def tell(self, *records: wire.UsageRecord, spool: str = "") -> wire.UsageAck:
        first, self.sent = self.sent + 1, self.sent + len(records)
        return booked(*records, first=first, session=spool or self.spool, identity=self.name)

    def alive(self, ago: timedelta = timedelta(), **fields: Any) -> None:
        at = timezone.now() - ago
        known: dict[str, Any] = {"identity": self.name, "session_id": self.spool, "stream_id": self.name}
        known |= {"name": self.name, "first_seen_at": at, "last_heartbeat_at": at, "state": PodState.READY}
        Pod.objects.update_or_create(pod_id=self.name, defaults=known | fields)


@pytest.fixture
def honest() -> Speaker:
    return Speaker("honest")


@pytest.fixture
def liar() -> Speaker:
    return Speaker("mallory")


def of(budget: Budget, pod: Speaker, **fields: Any) -> dict[str, Any]:
    return drawing(ref_of(budget), **{"hold_session": pod.leases} | fields)


def settled(budget: Budget) -> int:
    return sum(Account.objects.filter(budget_id=budget.pk).values_list("settled_nano", flat=True))


def problems() -> list[str]:
    return list(DeadLetter.objects.order_by("pk").values_list("problem", flat=True))


GRANTED = "it cost more than its pod was granted on its budgets"


@pytest.mark.parametrize("reserved", [0, 5 * DOLLAR])
@pytest.mark.parametrize("session", ["", "leases-mallory", "nobodys"])
def test_nothing_is_settled_where_nothing_was_leased(liar: Speaker, session: str, reserved: int) -> None:
    budget = factories.budget(limit_nano=100 * DOLLAR)
    ack = liar.tell(record(cost_nano=5 * DOLLAR, **of(budget, liar, hold_session=session, reserved_nano=reserved)))
    assert (ack.through_seq, list(ack.dead_lettered), problems()) == (1, ["req_1"], [GRANTED])
    assert settled(budget) == 0
    row = UsageRecord.objects.get()
    assert (row.state, row.cost_nano) == (RecordState.ESTIMATED, 0)


def test_another_pods_lease_is_not_consumed_and_the_rest_of_the_batch_is_booked(honest: Speaker, liar: Speaker) -> None:
    budget = factories.budget()
    honest.lease(budget)
    stolen = record("req_1", cost_nano=DOLLAR // 2, **of(budget, honest))
    ack = liar.tell(stolen, record("req_2"))
    assert (ack.through_seq, list(ack.dead_lettered)) == (2, ["req_1"])
    assert problems() == ["it was held on the leases of another pod"]
    assert list(UsageRecord.objects.values_list("request_id", flat=True)) == ["req_2"]
    assert (settled(budget), Lease.objects.get().consumed_nano) == (0, 0)


def test_what_was_granted_is_settled_and_an_answer_may_cost_more_than_it_held_but_not_any_amount(
    honest: Speaker,
) -> None:
    budget = factories.budget(limit_nano=100 * DOLLAR, overdraft_nano=0)
    honest.lease(budget)
    honest.tell(admitted(reserved_nano=DOLLAR, **of(budget, honest)))
    honest.tell(record(cost_nano=3 * DOLLAR // 2, **of(budget, honest)))
    assert settled(budget) == 3 * DOLLAR // 2
    honest.tell(admitted("req_2", reserved_nano=DOLLAR, **of(budget, honest)))
    honest.tell(record("req_2", cost_nano=5 * DOLLAR, **of(budget, honest)))
    assert problems() == [GRANTED]
    assert settled(budget) == 5 * DOLLAR // 2
    assert UsageRecord.objects.get(request_id="req_2").cost_nano == DOLLAR
    assert lease_sessions.problems() == []


def test_many_records_settle_no_more_together_than_one_may(liar: Speaker) -> None:
    budget = factories.budget(limit_nano=100 * DOLLAR, overdraft_nano=0)
    liar.lease(budget)
    liar.tell(*[record(f"req_{number}", cost_nano=DOLLAR, **of(budget, liar)) for number in range(10)])
    assert settled(budget) == 2 * DOLLAR
    assert problems() == [GRANTED] * 8


def test_what_was_given_back_is_not_there_to_be_settled(liar: Speaker) -> None:
    budget = factories.budget(limit_nano=100 * DOLLAR)
    liar.lease(budget, 90 * DOLLAR)
    liar.say(Return(ref_of(budget), 90 * DOLLAR))
    liar.tell(record(cost_nano=DOLLAR, **of(budget, liar)))
    assert (settled(budget), problems()) == (0, [GRANTED])


def test_a_request_is_ended_and_corrected_by_its_own_spool_only(honest: Speaker, liar: Speaker) -> None:
    budget = factories.budget()
    honest.lease(budget)
    honest.tell(admitted(reserved_nano=DOLLAR, **of(budget, honest)))
    for cost in (0, 1):
        liar.tell(record(cost_nano=cost, **of(budget, liar)))
    assert UsageRecord.objects.get().state == RecordState.ADMITTED
    honest.tell(record(cost_nano=DOLLAR // 2, **of(budget, honest)))
    assert (UsageRecord.objects.get().cost_nano, settled(budget)) == (DOLLAR // 2, DOLLAR // 2)
    UsageRecord.objects.update(state=RecordState.ESTIMATED)
    liar.tell(record(cost_nano=0, **of(budget, liar)))
    assert (UsageRecord.objects.count(), settled(budget)) == (1, DOLLAR // 2)
    assert set(problems()) == {"its attempt is another spool's"}


def test_who_made_a_request_gets_it_back_from_whoever_named_it_first(honest: Speaker, liar: Speaker) -> None:
    budget = factories.budget()
    for pod in (honest, liar):
        pod.lease(budget)
    made = RequestIds(honest.spool, 7).make(ms(timezone.now()))
    claim = record(made, cost_nano=3, **of(budget, liar))
    assert liar.tell(claim).dead_lettered == []
    ack = honest.tell(admitted(made, reserved_nano=DOLLAR, **of(budget, honest)))
    assert (ack.through_seq, list(ack.dead_lettered)) == (1, [])
    row = UsageRecord.objects.get(request_id=made)
    assert (row.state, row.session_id, row.hold_session) == (RecordState.ADMITTED, honest.spool, honest.leases)
    honest.tell(record(made, cost_nano=DOLLAR // 2, **of(budget, honest)))
    liar.tell(claim)
    assert UsageRecord.objects.get(request_id=made).cost_nano == DOLLAR // 2
    assert settled(budget) == DOLLAR // 2 + 3, "what it has claimed stays its own"
    assert dict(Lease.objects.values_list("session_id", "consumed_nano")) == {
        honest.leases: DOLLAR // 2,
        liar.leases: 3,
    }
    aside = UsageRecord.objects.exclude(request_id=made).get()
    assert (aside.session_id, aside.cost_nano, aside.request_id.startswith(f"{made}~")) == (liar.spool, 3, True)
    assert [(letter.identity, letter.request_id) for letter in DeadLetter.objects.order_by("pk")] == [
        ("mallory", made)
    ] * 2
    assert problems() == [
        "it was made in the spool spool-honest, and claimed before by spool-mallory",
        "its attempt is another spool's",
    ]
    assert lease_sessions.problems() == []


def test_a_claim_that_is_still_open_is_ended_under_its_own_name(honest: Speaker, liar: Speaker) -> None:
    budget = factories.budget()
    for pod in (honest, liar):
        pod.lease(budget)
    made = RequestIds(honest.spool, 7).make(ms(timezone.now()))
    liar.tell(admitted(made, reserved_nano=5, **of(budget, liar)))
    honest.tell(record(made, cost_nano=DOLLAR // 2, **of(budget, honest)))
    UsageRecord.objects.filter(state=RecordState.ADMITTED).update(received_at=timezone.now() - timedelta(days=2))
    assert lost.estimate_lost() == 1
    assert settled(budget) == DOLLAR // 2 + 5
    assert lease_sessions.problems() == []


def test_what_an_older_pod_made_belongs_to_whoever_names_it_first(honest: Speaker, liar: Speaker) -> None:
    for name in (
        "req_1",
        "req_019a0000000000000000000000000000"[:34],
        RequestIds("somebody", 1).make(1_795_000_000_000),
    ):
        honest.tell(record(name))
        assert list(liar.tell(record(name, cost_nano=1)).dead_lettered) == [name]
        assert UsageRecord.objects.get(request_id=name).session_id == honest.spool


def test_nobody_writes_into_the_spool_of_a_pod_that_lives(honest: Speaker, liar: Speaker) -> None:
    honest.tell(record("req_1"))
    honest.alive()
    ack = booked(record("req_9"), first=900, session=honest.spool, identity=liar.name)
    assert ack.through_seq == 0
    session = ReportSession.objects.get()
    assert (session.through_seq, session.missing, session.identity) == (1, 0, "honest")
    assert "of another pod, which lives" in problems()[0]
    assert UsageRecord.objects.count() == 1


def test_nobody_begins_the_spool_that_another_pod_has_named(honest: Speaker, liar: Speaker) -> None:
    honest.alive()
    assert booked(record(), session=honest.spool, identity=liar.name).through_seq == 0
    assert not ReportSession.objects.exists()
    assert honest.tell(record()).through_seq == 1


@pytest.mark.parametrize("fields", [{"state": PodState.GONE}, {"ago": timedelta(seconds=61)}])
def test_a_dead_pods_spool_goes_to_who_finds_it_with_its_leases(
    honest: Speaker, liar: Speaker, fields: dict[str, Any]
) -> None:
    budget = factories.budget()
    honest.lease(budget)
    honest.tell(admitted(reserved_nano=DOLLAR, **of(budget, honest)))
    liar.alive()
    honest.alive(**fields)
    ack = booked(record(cost_nano=DOLLAR // 2, **of(budget, honest)), first=2, session=honest.spool, identity=liar.name)
    assert (ack.through_seq, settled(budget), problems()) == (2, DOLLAR // 2, [])
    assert Lease.objects.get().consumed_nano == DOLLAR // 2


def test_silence_of_all_makes_nobody_dead(honest: Speaker, liar: Speaker) -> None:
    honest.tell(record("req_1"))
    honest.alive(timedelta(hours=1))
    liar.alive(timedelta(hours=1))
    assert booked(record("req_2"), first=2, session=honest.spool, identity=liar.name).through_seq == 0


def test_what_belongs_to_another_organization_is_not_named(liar: Speaker) -> None:
    key, foreign = factories.key(), factories.key()
    own = {"organization_id": key.organization_id, "key_id": key.pk}
    wrong = [
        {"key_id": foreign.pk},
        {"project_id": foreign.project_id},
        {"team_id": foreign.project.team_id},
        {"provider_id": factories.provider(foreign.organization).pk},
        {"principal_id": factories.principal(foreign.organization).pk},
    ]
    ack = liar.tell(*[record(f"req_{number}", **own | each) for number, each in enumerate(wrong)], record("ok", **own))
    assert len(ack.dead_lettered) == len(wrong)
    assert list(UsageRecord.objects.values_list("request_id", flat=True)) == ["ok"]


def test_a_record_draws_on_the_budgets_above_its_key_only(liar: Speaker) -> None:
    key, other = factories.key(), factories.key()
    for scope in (other, other.project, other.organization):
        budget = factories.budget(scope, on_breach="warn")
        fields = of(budget, liar) | {"organization_id": key.organization_id, "key_id": key.pk, "project_id": "p"}
        liar.tell(record(f"req_{budget.pk}", cost_nano=1, **fields))
    assert problems() == ["it draws on a budget that is not above its key"] * 3
    assert not Account.objects.exists()


def test_only_a_requests_own_session_says_that_it_has_grown(honest: Speaker, liar: Speaker) -> None:
    budget = factories.budget()
    honest.lease(budget)
    honest.tell(admitted(reserved_nano=7, **of(budget, honest)))
    assert ingest.note_grown(liar.leases, [LiveHold("req_1", 0, 2**60)]) == []
    assert UsageRecord.objects.get().reserved_nano == 7
    ingest.note_grown(honest.leases, [LiveHold("req_1", 0, 9)])
    assert UsageRecord.objects.get().reserved_nano == 9


def test_a_beginning_that_holds_what_was_never_granted_costs_nothing_in_the_end(liar: Speaker) -> None:
    budget = factories.budget(limit_nano=100 * DOLLAR)
    liar.tell(admitted(reserved_nano=70 * DOLLAR, **of(budget, liar)))
    UsageRecord.objects.update(received_at=timezone.now() - timedelta(days=2))
    assert lost.estimate_lost() == 1
    assert settled(budget) == 0


@pytest.mark.parametrize(("outage", "most"), [("strict", 0), ("standard", DOLLAR // 2), ("open", 9 * DOLLAR)])
def test_a_pod_that_was_alone_went_by_its_budgets_outage_rule(honest: Speaker, outage: str, most: int) -> None:
    budget = factories.budget(limit_nano=10 * DOLLAR, outage=outage)
    pass_time(30)
    for nano in (most, most + 1):
        if nano:
            honest.tell(record(f"req_{nano}", cost_nano=nano, **of(budget, honest)))
    assert settled(budget) in (most, 2 * most + 1 if outage == "open" else most)
    honest.say(Report(1, (), ()))  # it is back, and what it spent meanwhile still comes
    assert LeaseSession.objects.get().alone_ms > 0


def test_a_budget_that_begins_to_block_takes_the_end_of_what_ran_before(honest: Speaker) -> None:
    budget = factories.budget(limit_nano=DOLLAR, on_breach="warn")
    honest.tell(record("req_0", cost_nano=3 * DOLLAR, **of(budget, honest)))
    honest.tell(admitted(reserved_nano=DOLLAR, **of(budget, honest)))
    actions.update_budget(budget, by=factories.SYSTEM, on_breach="block")
    honest.tell(record(cost_nano=DOLLAR, **of(budget, honest)))
    assert (settled(budget), problems()) == (4 * DOLLAR, [])
    honest.tell(record("req_2", cost_nano=4 * DOLLAR, **of(budget, honest)))
    assert problems() == [GRANTED]
    assert lease_sessions.problems() == []
