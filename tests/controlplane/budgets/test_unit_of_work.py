"""The books under random lives: pods' own lease books against the tables, through grants, extensions, repeated asks,
reports, recalls, crashes, late ends, changed limits, resets and midnight. `AIGATEWAY_TEST_LIVES`: how many lives, of
`AIGATEWAY_TEST_LIFE` steps each.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from unittest import mock

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from controlplane.budgets import actions, answers, lease_sessions
from controlplane.budgets.answers import Ended, PodMessage
from controlplane.budgets.models import Account, Budget, Charge, Lease, LeaseSession
from controlplane.budgets.values import core_budget, ms
from controlplane.usage import ingest, lost
from controlplane.usage.models import UsageRecord
from dataplane.core.money.accounts import account_at
from dataplane.core.money.lease_book import Cut, Denied, Hold, LeaseBook
from dataplane.core.money.lease_rows import SessionState
from dataplane.core.money.lessor import Recalls
from dataplane.core.money.messages import Ask, Deny, Grant, ReportAck, Welcome
from dataplane.wire.holds import from_control_plane
from protos import fleet_pb2 as wire
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM
from tests.controlplane.usage.records import admitted, booked, record

STEP = 10_000_000
LIVES = int(os.environ.get("AIGATEWAY_TEST_LIVES", "8"))
LIFE = int(os.environ.get("AIGATEWAY_TEST_LIFE", "40"))
numbers = count(1)


@dataclass
class Pod:
    name: str
    book: LeaseBook
    running: list[Hold] = field(default_factory=list)
    spool: int = 0


class Lives(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 11, 24, 23, 50, tzinfo=UTC)
        self.clock = mock.patch("django.utils.timezone.now", side_effect=lambda: self.now)
        self.clock.start()
        self.frame = transaction.atomic()
        self.frame.__enter__()
        project = factories.project()
        key = factories.key(project)
        small: dict[str, Any] = {"window": "day", "overdraft_nano": 2 * STEP}
        self.budgets = [
            factories.budget(project.organization, limit_nano=40 * STEP, **small),
            factories.budget(project, limit_nano=5 * STEP, on_breach="warn", window="hour"),
            factories.budget(key, limit_nano=15 * STEP, **small),
        ]
        self.highest = {budget.pk: budget.limit_nano for budget in self.budgets}
        self.closed = False
        self.fresh: tuple[Any, ...] = ()  # the budgets as they are now
        self.pods: list[Pod] = []
        self.lost: list[tuple[Pod, Hold]] = []
        self.cost: dict[str, int] = {}  # of requests whose end was told
        for _ in range(3):
            self.start()

    def teardown(self) -> None:
        assert lease_sessions.problems() == []
        transaction.set_rollback(True)
        self.frame.__exit__(None, None, None)
        self.clock.stop()

    @property
    def ms(self) -> int:
        return ms(self.now)

    # ---- what pods and the control plane do to each other ----

    def start(self) -> None:
        name = f"pod{next(numbers)}"
        pod = Pod(name, LeaseBook(name, self.ms))
        self.pods.append(pod)
        self.greet(pod)

    def greet(self, pod: Pod) -> None:
        welcome = self.say(pod, pod.book.hello(self.ms))
        assert isinstance(welcome, Welcome)
        if not pod.book.welcomed(welcome, self.ms):
            pod.book.restart(f"{pod.name}-{next(numbers)}", self.ms)
            assert pod.book.welcomed(self.say(pod, pod.book.hello(self.ms)), self.ms)

    def say(self, pod: Pod, message: Any, recalls: int = 0) -> Any:
        (answer,) = answers.answer([PodMessage(pod.book.session, pod.name, "", message, recalls)])
        return next(from_control_plane(wire.HoldDown.FromString(answer))) if isinstance(answer, bytes) else answer

    def ask(self, pod: Pod, ask: Ask, repeated: bool) -> Hold | Denied | Cut | None:
        answer = self.answer(pod, ask)
        if repeated:
            assert self.answer(pod, ask) == answer
        if isinstance(answer, Deny) and answer.reason.value == "closed":
            self.greet(pod)
            outcome = pod.book.unanswered(ask.ask_id, self.ms)
            return outcome if isinstance(outcome, Hold | Denied | Cut) else None
        found = pod.book.granted(answer, self.ms) if isinstance(answer, Grant) else pod.book.denied(answer, self.ms)
        return self.ask(pod, found, False) if isinstance(found, Ask) else found

    def answer(self, pod: Pod, ask: Ask) -> Grant | Deny:
        for recalls in range(10):
            answer = self.say(pod, ask, recalls)
            if not isinstance(answer, Recalls):
                break
            for other in self.pods:
                for returned in other.book.recalled(answer.accounts.get(other.book.session, ()), self.ms):
                    self.say(other, returned)
        assert isinstance(answer, Grant | Deny)
        return answer

    def accounts(self) -> Any:
        if not self.fresh:
            rows = Budget.objects.filter(pk__in=[budget.pk for budget in self.budgets]).order_by("pk")
            self.fresh = tuple(core_budget(row, row.overrides.all()) for row in rows)
        return tuple(account_at(budget, "", self.ms) for budget in self.fresh)

    def fields(self, hold: Hold) -> dict[str, Any]:
        refs = [account.ref for account in hold.accounts]
        accounts = [wire.AccountRef(budget_id=ref[0], member_id=ref[1], window_key=ref[2]) for ref in refs]
        organization, project, key = [budget.scope_id for budget in self.budgets]
        owner = {"organization_id": organization, "project_id": project, "key_id": key}
        return {"accounts": accounts, "hold_session": hold.session, "started_at_ms": self.ms} | owner

    def tell(self, pod: Pod, made: wire.UsageRecord) -> None:
        pod.spool += 1
        booked(made, first=pod.spool, session=pod.name)

    def end(self, pod: Pod, hold: Hold) -> None:
        self.cost[hold.request_id] = hold.accrued
        self.tell(pod, record(hold.request_id, cost_nano=hold.accrued, **self.fields(hold)))

    # ---- rules ----

    @rule(which=st.integers(0, 9), need=st.integers(1, 4), repeated=st.booleans())
    @precondition(lambda self: self.pods)
    def admit(self, which: int, need: int, repeated: bool) -> None:
        pod = self.pods[which % len(self.pods)]
        outcome = pod.book.hold(f"r{next(numbers)}", 0, self.accounts(), need * STEP, STEP, self.ms)
        found = self.ask(pod, outcome, repeated) if isinstance(outcome, Ask) else outcome
        if isinstance(found, Hold):
            pod.running.append(found)
            self.tell(pod, admitted(found.request_id, reserved_nano=found.charged, **self.fields(found)))

    @rule(which=st.integers(0, 99), more=st.integers(0, 3), repeated=st.booleans())
    @precondition(lambda self: any(pod.running for pod in self.pods))
    def stream(self, which: int, more: int, repeated: bool) -> None:
        running = [(pod, hold) for pod in self.pods for hold in pod.running]
        pod, hold = running[which % len(running)]
        accrued = min(
            hold.accrued + more * STEP // 2, hold.charged
        )  # a pod that has to wait sends no more than it holds
        outcome = pod.book.accrue(hold, accrued, self.ms)
        if isinstance(outcome, Ask):
            self.ask(pod, outcome, repeated)

    @rule(which=st.integers(0, 99), twice=st.booleans())
    @precondition(lambda self: any(pod.running for pod in self.pods))
    def finish(self, which: int, twice: bool) -> None:
        running = [(pod, hold) for pod in self.pods for hold in pod.running]
        pod, hold = running[which % len(running)]
        pod.running.remove(hold)
        pod.book.settle(hold, hold.accrued, self.ms)
        for returned in pod.book.surplus(hold):
            self.say(pod, returned)
        for _ in range(1 + twice):
            self.end(pod, hold)

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: self.pods)
    def report(self, which: int) -> None:
        pod = self.pods[which % len(self.pods)]
        report = pod.book.report(self.ms, self.ms)
        ack = self.say(pod, report)
        if isinstance(ack, Ended):
            self.greet(pod)
            return
        assert isinstance(ack, ReportAck)
        pod.book.acknowledged(ack, self.ms)
        ingest.note_grown(pod.book.session, report.grown)

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: len(self.pods) > 1)
    def crash(self, which: int) -> None:
        pod = self.pods.pop(which % len(self.pods))
        self.lost += [(pod, hold) for hold in pod.running]
        self.start()

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: self.lost)
    def its_spool_is_found(self, which: int) -> None:
        self.end(*self.lost.pop(which % len(self.lost)))

    @rule(seconds=st.sampled_from([1, 5, 30, 75, 700]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def the_silent_are_charged(self) -> None:
        lost.expire_silent()
        self.closed |= LeaseSession.objects.filter(state="closed").exists()

    @rule(which=st.integers(0, 2), factor=st.sampled_from([50, 90, 150]))
    def limit(self, which: int, factor: int) -> None:
        budget = Budget.objects.get(pk=self.budgets[which].pk)
        actions.update_budget(budget, by=SYSTEM, limit_nano=max(STEP, budget.limit_nano * factor // 100))
        self.highest[budget.pk] = max(self.highest[budget.pk], budget.limit_nano)
        self.fresh = ()

    @rule(which=st.integers(0, 2))
    def reset(self, which: int) -> None:
        actions.reset_budget(Budget.objects.get(pk=self.budgets[which].pk), by=SYSTEM)
        self.fresh = ()

    # ---- what always holds ----

    @invariant()
    def the_books_add_up(self) -> None:
        for pod in self.pods:
            assert pod.book.problems() == []
        held: Counter[int] = Counter()
        leases = Lease.objects.exclude(session__state=SessionState.CLOSED)
        for account, granted, consumed, returned in leases.values_list(
            "account", "granted_nano", "consumed_nano", "returned_nano"
        ):
            held[account] += max(0, granted - consumed - returned)
        charged: Counter[int] = Counter()
        per_request: Counter[tuple[str, int]] = Counter()
        for request, account, amount in Charge.objects.values_list("request_id", "account", "amount_nano"):
            charged[account] += amount
            per_request[request, account] += amount
        costs: Counter[str] = Counter()
        for request, cost in UsageRecord.objects.values_list("request_id", "cost_nano"):
            costs[request] += cost
        for account, booked_held, settled in Account.objects.values_list("pk", "held_nano", "settled_nano"):
            assert (booked_held, settled) == (held[account], charged[account])
        for (request, _), amount in per_request.items():
            assert amount == costs[request]
        for request, cost in self.cost.items():
            assert costs[request] == cost

    @invariant()
    def no_blocking_budget_is_overspent(self) -> None:
        """By what is known. What a closed session held is known by its late records only."""
        if self.closed:
            return
        accounts = Account.objects.exclude(budget_id=self.budgets[1].pk)
        for budget, settled, overdraft in accounts.values_list("budget_id", "settled_nano", "overdraft_limit_nano"):
            assert settled <= self.highest[budget] + overdraft


@pytest.mark.django_db
def test_the_books_add_up_whatever_happens() -> None:
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=LIVES,
            stateful_step_count=LIFE,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,) if LIVES > 100 else tuple(Phase),  # in a long run to find a seed is enough
        ),
    )
