"""One budget that is made stricter and looser while pods spend and messages are late: nothing leased before is spent.

`BUDGET_STEPS` (default 4,000) says how many steps in all.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataplane.core.rows import OnBreach
from tests.core.money.budget_world import World, budget
from tests.core.money.test_leases_machine import CENT, EXAMPLES, STEPS, Bags, some

ID = "bud_1"


class EpochsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bags = Bags()
        self.world = self.bags.world = World([budget(ID, limit_nano=30 * CENT, on_breach=OnBreach.WARN)], 2, self.bags)
        for pod in self.world.pods:
            self.world.connect(pod)
        for pod in self.world.pods:
            self.everything()
            self.world.admit(pod, [ID], 5 * CENT, CENT)
        self.a_quiet_moment()

    def everything(self) -> None:
        while self.bags.waiting:
            self.bags.waiting.pop(0)()

    @rule(
        pods=st.lists(st.integers(0, 1), min_size=1, max_size=6),
        need=st.integers(1, 20),
        billed=st.integers(0, 10),
        arrive=st.booleans(),
    )
    def requests_come(self, pods, need, billed, arrive):
        requests = [self.world.admit(self.world.pods[pod], [ID], need * CENT, CENT) for pod in pods]
        if arrive:
            self.everything()
        for request in requests:
            if request.state == "running":
                self.world.accrue(request, billed * need * CENT // 10)

    @rule(pick=some, billed=st.integers(0, 10 * CENT))
    def a_provider_bills(self, pick, billed):
        running = [request for request in self.world.requests.values() if request.state == "running"]
        if running:
            self.world.accrue(running[pick % len(running)], billed)

    @rule(pick=some)
    def it_ends(self, pick):
        ending = [request for request in self.world.requests.values() if request.state in ("running", "cut")]
        if ending:
            request = ending[pick % len(ending)]
            self.world.finish(request)
            self.world.deliver(request.pod, len(request.pod.spool))

    @rule(pod=st.integers(0, 1))
    def a_pod_reports(self, pod):
        self.world.report(self.world.pods[pod])

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
    def a_quiet_moment(self):
        self.everything()
        for pod in self.world.pods:
            self.world.report(pod)
        self.everything()

    @rule(pod=st.integers(0, 1))
    def a_pod_connects_anew(self, pod):
        self.world.disconnect(self.world.pods[pod])
        self.world.connect(self.world.pods[pod])

    @rule(milliseconds=st.sampled_from([1, 400, 5_000]))
    def time_passes(self, milliseconds):
        self.world.now += milliseconds

    @rule()
    def it_only_warns(self):
        self.world.edit(ID, on_breach=OnBreach.WARN, enabled=True)
        self.live()
        self.a_quiet_moment()

    @rule(cents=st.integers(-20, 20), live=st.sampled_from([True, True, False]))
    def it_is_made_stricter(self, cents, live):
        limit = min(self.world.budgets[ID].limit_nano, max(0, self.spent + cents * CENT))
        self.world.edit(ID, on_breach=OnBreach.BLOCK, enabled=True, limit_nano=limit)
        if live:
            self.live()

    @rule(cents=st.integers(0, 60))
    def its_limit_is_changed(self, cents):
        self.world.edit(ID, limit_nano=self.spent + cents * CENT)
        self.live()

    @rule()
    def it_is_disabled_for_a_moment(self):
        self.world.edit(ID, enabled=False)
        self.live()
        self.world.edit(ID, enabled=True)
        self.live()

    @rule(pod=st.integers(0, 1))
    def a_pod_gets_the_configuration(self, pod):
        self.world.publish(self.world.pods[pod])

    @property
    def spent(self) -> int:
        return max(self.world.spent.values(), default=0)

    def live(self) -> None:
        for pod in self.world.pods:
            self.world.publish(pod)

    @invariant()
    def nothing_is_wrong(self):
        assert list(self.world.problems()) == []


EpochsMachine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestEpochs = EpochsMachine.TestCase
