"""Pods, a control plane and everything that can go wrong between them, in any order: invariants I1 to I9 hold.

`BUDGET_STEPS` (default 4,000) says how many steps in all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataplane.core.money.windows import WindowKind
from dataplane.core.rows import OnBreach, OutageRule
from tests.core.money.budget_world import Pod, World, budget

STEPS = 50
EXAMPLES = max(1, int(os.environ.get("BUDGET_STEPS", "4000")) // STEPS)

CENT = 10_000_000
BUDGETS = (
    budget("bud_org", limit_nano=200 * CENT, overdraft_nano=20 * CENT),
    budget("bud_key", limit_nano=60 * CENT, outage=OutageRule.STRICT, window=WindowKind.MINUTE),
    budget("bud_warn", limit_nano=30 * CENT, on_breach=OnBreach.WARN),
    budget("grp_1", limit_nano=50 * CENT, overdraft_nano=5 * CENT),
)
PATHS = (
    *(("bud_org",), ("bud_org", "bud_key"), ("bud_org", "bud_warn", "bud_key"), ("bud_org", "grp_1")),
    ("bud_warn",),
)


class Bags:
    """Messages wait until the test takes them out: in any order, twice, or never."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.world: World

    def up(self, pod: Pod, connection: int, message: Any) -> None:
        session = pod.book.session
        self.waiting.append(lambda: self.world.arrive_up(pod, connection, message, session))

    def down(self, pod: Pod, connection: int, message: Any) -> None:
        self.waiting.append(lambda: self.world.arrive_down(pod, connection, message))

    def later(self, milliseconds: int, act: Callable[[], None]) -> None:
        self.waiting.append(act)


some = st.integers(0, 1_000_000)
some_budget = st.sampled_from(["bud_org", "bud_key", "bud_warn", "grp_1"])


class LeasesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bags = Bags()
        clocks = [(5_000, 1000), (900_000, 1010), (17, 990), (0, 1005)]
        self.world = self.bags.world = World(BUDGETS, 3, self.bags, clocks=lambda number: clocks[number % 4])
        for pod in self.world.pods:
            self.world.connect(pod)
        self.everything()

    def everything(self) -> None:
        while self.bags.waiting:
            self.bags.waiting.pop(0)()

    def pod(self, pick: int) -> Pod | None:
        alive = [pod for pod in self.world.pods if pod.alive]
        return alive[pick % len(alive)] if alive else None

    def some_request(self, pick: int, *states: str) -> Any:
        found = [request for request in self.world.requests.values() if request.state in states and request.pod.alive]
        return found[pick % len(found)] if found else None

    @rule(
        picks=st.lists(some, min_size=1, max_size=8),
        path=st.sampled_from(PATHS),
        need=st.integers(1, 30),
        least=st.integers(0, 100),
        arrive=st.booleans(),
    )
    def requests_come(self, picks, path, need, least, arrive):
        for pick in picks:
            pod = self.pod(pick)
            if pod is not None:
                self.world.admit(pod, path, need * CENT, need * CENT * least // 100, member=f"prin_{pick % 2}")
        if arrive:
            self.everything()

    @rule(picks=st.lists(some, min_size=1, max_size=8), amount=st.integers(0, 12 * CENT), arrive=st.booleans())
    def their_providers_bill(self, picks, amount, arrive):
        for pick in picks:
            request = self.some_request(pick, "running")
            if request is not None:
                self.world.accrue(request, amount)
        if arrive:
            self.everything()

    @rule(pick=some, more=st.sampled_from([0, 0, 0, CENT, 5 * CENT]))
    def it_ends(self, pick, more):
        request = self.some_request(pick, "running", "cut")
        if request is not None:
            self.world.finish(request, more)

    @rule(pick=some)
    def a_client_leaves_while_it_waits(self, pick):
        request = self.some_request(pick, "waiting")
        if request is not None:
            self.world.leave(request)

    @rule(pick=some)
    def patience_runs_out(self, pick):
        request = self.some_request(pick, "waiting", "running")
        if request is not None:
            self.world.unanswered(request)

    @precondition(lambda self: self.bags.waiting)
    @rule(pick=some, again=st.booleans())
    def a_message_arrives(self, pick, again):
        waiting = self.bags.waiting
        act = waiting[pick % len(waiting)] if again else waiting.pop(pick % len(waiting))
        act()

    @precondition(lambda self: self.bags.waiting)
    @rule(pick=some)
    def a_message_is_lost(self, pick):
        self.bags.waiting.pop(pick % len(self.bags.waiting))

    @rule()
    def everything_arrives(self):
        self.everything()

    @rule()
    def a_quiet_moment(self):
        """Every pod is connected, has reported, and nothing is on its way."""
        for pod in self.world.pods:
            if pod.alive and not pod.connection:
                self.world.connect(pod)
            self.everything()
            if pod.alive:
                self.world.report(pod)
        self.everything()

    @rule(pick=some)
    def a_pod_reports(self, pick):
        pod = self.pod(pick)
        if pod is not None:
            self.world.report(pod)

    @rule(pick=some)
    def a_connection_breaks(self, pick):
        pod = self.pod(pick)
        if pod is not None and pod.connection:
            self.world.disconnect(pod)

    @rule(pick=some)
    def a_pod_connects_anew(self, pick):
        pod = self.pod(pick)
        if pod is not None:
            if pod.connection:
                self.world.disconnect(pod)
            self.world.connect(pod)

    @precondition(lambda self: len(self.world.pods) < 8)
    @rule(pick=some, disk=st.booleans())
    def a_pod_dies_and_another_comes(self, pick, disk):
        pod = self.pod(pick)
        if pod is not None:
            self.world.crash(pod, disk=disk)
        self.world.connect(self.world.add_pod())

    @rule(pick=some, count=st.integers(1, 20), again=st.booleans())
    def records_are_booked(self, pick, count, again):
        pod = self.world.pods[pick % len(self.world.pods)]
        self.world.deliver(pod, count, again=again)

    @rule(milliseconds=st.sampled_from([1, 30, 400, 1_100, 5_000, 20_000, 65_000, 300_000, 1_000_000]))
    def time_passes(self, milliseconds):
        self.world.now += milliseconds
        self.world.sweep()

    @rule(id=some_budget, cents=st.integers(0, 300))
    def a_limit_is_changed(self, id, cents):
        self.world.edit(id, limit_nano=cents * CENT)

    @rule(id=some_budget, cents=st.integers(0, 60), live=st.sampled_from([True, True, False]))
    def a_budget_is_made_stricter(self, id, cents, live):
        limit = min(self.world.budgets[id].limit_nano, cents * CENT)
        self.world.edit(id, on_breach=OnBreach.BLOCK, enabled=True, limit_nano=limit, overdraft_nano=0)
        if live:
            self.every_pod_has_the_configuration()

    @rule(id=some_budget, enabled=st.booleans(), on_breach=st.sampled_from(OnBreach), cents=st.integers(10, 300))
    def a_budget_is_switched(self, id, enabled, on_breach, cents):
        self.world.edit(id, enabled=enabled, on_breach=on_breach, limit_nano=cents * CENT)
        self.every_pod_has_the_configuration()

    @rule(pick=some)
    def a_pod_gets_the_configuration(self, pick):
        pod = self.pod(pick)
        if pod is not None:
            self.world.publish(pod)

    @rule()
    def every_pod_has_the_configuration(self):
        for pod in self.world.pods:
            if pod.alive:
                self.world.publish(pod)

    @invariant()
    def nothing_is_wrong(self):
        assert list(self.world.problems()) == []

    def teardown(self):
        """Everything arrives in the end: then each attempt is charged what it cost, once, on each of its accounts."""
        for pod in self.world.pods:
            self.world.deliver(pod, len(pod.spool), again=True)
        charged: dict[Any, int] = {}
        for booked in self.world.usage.values():
            for ref in booked.refs:
                charged[ref] = charged.get(ref, 0) + booked.charged
        assert {ref: row.settled for ref, row in self.world.lessor.accounts.items() if row.settled} == {
            ref: amount for ref, amount in charged.items() if amount
        }
        for request in self.world.requests.values():
            if request.state == "done" and request.pod.alive:
                assert self.world.usage[request.id].charged == request.real
        assert list(self.world.problems()) == []


LeasesMachine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLeases = LeasesMachine.TestCase
