"""Discrete events around three designs: leases (the production classes), and two that peers use, for contrast.

Milliseconds are simulated: 2 on the wire each way, 3 for a group commit. `Simulation` runs the leases with faults,
`snapshot` and `counter` the others without.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from dataplane.core.money.estimates import OutputEstimates
from dataplane.core.money.holds import Reason
from dataplane.core.money.messages import AccountRef, Return
from dataplane.core.money.windows import WindowKind
from dataplane.core.rows import Budget, OnBreach, OutageRule, ScopeKind
from tests.bench.budget_traffic import OUTPUT_NANO, TOKENS_PER_SECOND, Arrival, Mix, Tally
from tests.core.money.budget_world import Pod, Request, World, budget

WIRE_MS: Final = 2
COMMIT_MS: Final = 3
FIRST_BYTE_MS: Final = 1_500
CHUNK_MS: Final = 1_000
REPORT_MS: Final = 5_000
SPOOL_MS: Final = 50
PATIENCE_MS: Final = 5_000
CHECK_EVERY: Final = 2_000  # steps between two looks of the oracle at everything


class Clock:
    """Events in the order of their time."""

    def __init__(self) -> None:
        self.now = 0
        self.steps = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: int, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (max(when, self.now), self._count, act))

    def after(self, milliseconds: int, act: Callable[[], None]) -> None:
        self.at(self.now + milliseconds, act)

    def step(self) -> bool:
        if not self._events:
            return False
        self.now, _, act = heapq.heappop(self._events)
        act()
        self.steps += 1
        return True


def budgets_of(mix: Mix, outage: OutageRule = OutageRule.STANDARD) -> dict[str, Budget]:
    def made(id: str, kind: ScopeKind, limit: int) -> Budget:
        overdraft = 0 if outage is OutageRule.STRICT else max(int(limit * mix.overdraft), mix.least_overdraft)
        overdraft = min(overdraft, limit // 10)
        window = WindowKind(mix.window)
        return budget(
            id, scope_kind=kind, limit_nano=limit, overdraft_nano=overdraft, outage=outage, window=window, revision=1
        )

    found = {}
    if mix.organization is not None:
        found["org"] = made("org", ScopeKind.ORGANIZATION, mix.organization)
    for number in range(5 if mix.team is not None else 0):
        found[f"team_{number}"] = made(f"team_{number}", ScopeKind.TEAM, mix.team or 0)
    for number in range(20 if mix.project is not None else 0):
        found[f"project_{number}"] = made(f"project_{number}", ScopeKind.PROJECT, mix.project or 0)
    for number in range(mix.principals if mix.principal is not None else 0):
        found[f"principal_{number}"] = made(f"principal_{number}", ScopeKind.PRINCIPAL, mix.principal or 0)
    return found


def path_of(principal: int, budgets: dict[str, Budget]) -> tuple[str, ...]:
    ids = ("org", f"team_{principal % 5}", f"project_{principal % 20}", f"principal_{principal}")
    return tuple(id for id in ids if id in budgets)


class Judge:
    """What an omniscient judge, who knows what everything admitted will have cost, would have admitted."""

    def __init__(self, budgets: dict[str, Budget], tally: Tally) -> None:
        self.limits = {id: budget.limit_nano for id, budget in budgets.items()}
        self.committed: dict[str, int] = dict.fromkeys(budgets, 0)
        self.tally = tally

    def admitted(self, path: tuple[str, ...], cost: int) -> None:
        for id in path:
            self.committed[id] += cost

    def refused(self, path: tuple[str, ...], cost: int) -> None:
        self.tally.refused += 1
        left = [self.limits[id] - self.committed[id] for id in path]
        if all(amount >= cost for amount in left):
            self.tally.wrong += 1
            if all(amount * 20 >= self.limits[id] for id, amount in zip(path, left, strict=True)):
                self.tally.wrong_with_room += 1
            self.admitted(path, cost)  # it would have been


class Simulation:
    """Leases: `tests.core.money.budget_world.World` by the clock. It is the transport, too."""

    def __init__(self, mix: Mix, pods: int, seed: int, *, faults: bool, strict: bool = False, steps: int = 0) -> None:
        self.mix, self.seed, self.faults, self.most = mix, seed, faults, steps
        self.clock, self.tally = Clock(), Tally()
        self.chance = random.Random(seed + 1)
        self.budgets = budgets_of(mix, OutageRule.STRICT if strict else OutageRule.STANDARD)
        self.judge = Judge(self.budgets, self.tally)
        skew = random.Random(seed + 2)
        clocks = [(skew.randrange(10**9), 1000 + (skew.randint(-10, 10) if faults else 0)) for _ in range(10_000)]
        self.world = World(
            self.budgets.values(), pods, self, on_change=self._changed, clocks=lambda number: clocks[number % 10_000]
        )
        self.estimates = OutputEstimates()
        self._traffic = mix.arrivals(seed)
        self.last_at = 0

    def run(self) -> Tally:
        for pod in self.world.pods:
            self._start(pod, self.chance.randrange(REPORT_MS))
        self.clock.at(0, self._next)
        self.clock.after(1_000, self._sweep)
        if self.faults:
            self.clock.after(2_000, self._fault)
        checked = 0
        while self.clock.step():
            if self.clock.steps - checked >= CHECK_EVERY:
                checked = self.clock.steps
                self._look()
            if self.most and self.clock.steps >= self.most:
                break
        self._end()
        return self.tally

    def _end(self) -> None:
        """Everything that runs is let end, everything in the spools is booked; then the last look."""
        for request in self.world.requests.values():
            if request.state in ("running", "cut") and request.pod.alive:
                self.world.finish(request)
        for pod in self.world.pods:
            self.world.deliver(pod, len(pod.spool))
        self._look()
        for request in self.world.requests.values():
            if request.state == "done" and request.pod.alive and self.world.usage[request.id].charged != request.real:
                self.tally.violations.append(f"{request.id} was charged {self.world.usage[request.id].charged}")
        self.tally.messages, self.tally.asks = self.world.messages, self.world.asks
        self.tally.steps = self.clock.steps

    def _look(self) -> None:
        self.world.now = self.clock.now
        self.tally.violations.extend(self.world.problems())

    # ---- traffic -----------------------------------------------------------------------------------------------

    def _next(self) -> None:
        arrival = next(self._traffic, None)
        if arrival is None:
            return
        self.clock.at(arrival.at_ms, lambda: self._arrive(arrival))
        self.last_at = arrival.at_ms
        self.clock.at(0 if self.mix.burst else arrival.at_ms, self._next)

    def _arrive(self, arrival: Arrival) -> None:
        alive = [pod for pod in self.world.pods if pod.alive]
        sticky = arrival.pick < self.mix.sticky
        pod = alive[arrival.principal % len(alive) if sticky else int(arrival.pick * 7919 * len(alive)) % len(alive)]
        minimum = arrival.input_nano * 11 // 10
        expected = self.estimates.expect("model", str(arrival.principal)) * OUTPUT_NANO
        self.world.now = self.clock.now
        path = path_of(arrival.principal, self.budgets)
        request = self.world.admit(pod, path, minimum + expected, minimum, tag=arrival)
        self._patience(request)

    def _patience(self, request: Request) -> None:
        ask = request.ask_id
        if ask:
            self.clock.after(PATIENCE_MS, lambda: self._impatient(request, ask))

    def _impatient(self, request: Request, ask: int) -> None:
        if request.ask_id == ask and request.pod.alive and request.state in ("waiting", "running"):
            self.world.now = self.clock.now
            self.world.unanswered(request)

    def _changed(self, request: Request) -> None:
        arrival: Arrival = request.tag
        path = path_of(arrival.principal, self.budgets)
        match request.state:
            case "running":
                self.tally.admitted += 1
                self.tally.waits.append(self.clock.now - arrival.at_ms)
                self.judge.admitted(path, arrival.cost)
                self.clock.after(FIRST_BYTE_MS, lambda: self._chunk(request, arrival, arrival.input_nano, 0))
            case "refused":
                self.judge.refused(path, arrival.cost)
                if request.reason == Reason.UNREACHABLE:
                    self.tally.unreachable += 1
            case "cut":
                self.tally.cut += 1
                self.judge.admitted(path, request.real - arrival.cost)
                self._finish(request)

    def _chunk(self, request: Request, arrival: Arrival, amount: int, said: int) -> None:
        """A second of output: the provider bills, the pod accrues."""
        if request.state != "running" or not request.pod.alive:
            return
        self.world.now = self.clock.now
        self.world.accrue(request, amount)
        if request.state != "running":
            return
        self._patience(request)
        tokens = min(TOKENS_PER_SECOND * CHUNK_MS // 1000, arrival.output_tokens - said)
        if tokens <= 0:
            self.estimates.learn("model", str(arrival.principal), arrival.output_tokens)
            self._finish(request)
        else:
            self.clock.after(CHUNK_MS, lambda: self._chunk(request, arrival, tokens * OUTPUT_NANO, said + tokens))

    def _finish(self, request: Request) -> None:
        self.world.now = self.clock.now
        self.world.finish(request)

    # ---- pods --------------------------------------------------------------------------------------------------

    def _start(self, pod: Pod, phase: int) -> None:
        self.world.now = self.clock.now
        self.world.connect(pod)
        self.clock.after(phase, lambda: self._report(pod))
        self.clock.after(phase % SPOOL_MS, lambda: self._ship(pod))

    def _report(self, pod: Pod) -> None:
        if pod.alive and self._goes_on():
            self.world.now = self.clock.now
            self.world.report(pod)
            self.clock.after(REPORT_MS, lambda: self._report(pod))

    def _ship(self, pod: Pod) -> None:
        if pod.spool and (pod.connection or not pod.alive):
            self.world.now = self.clock.now
            self.world.deliver(pod, len(pod.spool), again=self.faults and self.chance.random() < 0.05)
        if pod.alive and self._goes_on():
            self.clock.after(SPOOL_MS * 20 if len(self.world.pods) > 50 else SPOOL_MS * 4, lambda: self._ship(pod))

    def _goes_on(self) -> bool:
        return self.clock.now < self.mix.seconds * 1000 + 120_000

    def _sweep(self) -> None:
        self.world.now = self.clock.now
        self.world.sweep()
        if self._goes_on():
            self.clock.after(1_000, self._sweep)

    # ---- the transport -----------------------------------------------------------------------------------------

    def up(self, pod: Pod, connection: int, message: Any) -> None:
        session = pod.book.session
        self._travel(WIRE_MS, lambda: self._now(lambda: self.world.arrive_up(pod, connection, message, session)))

    def down(self, pod: Pod, connection: int, message: Any) -> None:
        late = WIRE_MS if not isinstance(message, Return) else 0
        self._travel(COMMIT_MS + late, lambda: self._now(lambda: self.world.arrive_down(pod, connection, message)))

    def later(self, milliseconds: int, act: Callable[[], None]) -> None:
        self.clock.after(milliseconds, lambda: self._now(act))

    def _travel(self, milliseconds: int, act: Callable[[], None]) -> None:
        if self.faults:
            luck = self.chance.random()
            if luck < 0.005:
                return  # lost
            if luck < 0.02:
                self.clock.after(milliseconds + self.chance.randrange(200), act)  # repeated, late
            elif luck < 0.05:
                milliseconds += self.chance.randrange(500)  # overtaken by others
        self.clock.after(milliseconds, act)

    def _now(self, act: Callable[[], None]) -> None:
        self.world.now = self.clock.now
        act()

    # ---- faults ------------------------------------------------------------------------------------------------

    def _fault(self) -> None:
        """One of them, every few seconds."""
        self.world.now = self.clock.now
        self.tally.faults += 1
        alive = [pod for pod in self.world.pods if pod.alive]
        pod = self.chance.choice(alive)
        match self.chance.randrange(8):
            case 0:
                self.world.crash(pod, disk=self.chance.random() < 0.5)
                self._start(self.world.add_pod(), self.chance.randrange(REPORT_MS))
                self.clock.after(self.chance.randrange(1, 200_000), lambda: self._ship(pod))
            case 1 | 2:
                self._cut_off([pod], self.chance.choice([500, 5_000, 30_000, 100_000, 1_200_000]))
            case 3:
                self._cut_off(alive, self.chance.choice([200, 3_000, 20_000, 90_000]))
            case 4 | 5:
                id = self.chance.choice(list(self.budgets))
                limit = int(self.budgets[id].limit_nano * self.chance.choice([0.5, 0.9, 1.0, 1.2, 1.5]))
                self._edit(id, limit_nano=max(limit, 1))
            case 6:
                self.world.disconnect(pod)
                self.world.connect(pod)
            case 7:
                self._only_warns(self.chance.choice(list(self.budgets)), self.chance.randrange(2_000, 30_000))
        if self._goes_on():
            self.clock.after(self.chance.randrange(500, 8_000), self._fault)

    def _edit(self, id: str, **changes: Any) -> None:
        """Live on every pod within 60 s, on most of them at once."""
        self.world.now = self.clock.now
        self.world.edit(id, **changes)
        for pod in self.world.pods:
            late = self.chance.randrange(60_000 if self.chance.random() < 0.05 else 300)
            self.clock.after(late, partial(self._publish, pod))

    def _publish(self, pod: Pod) -> None:
        self.world.now = self.clock.now
        if pod.alive:
            self.world.publish(pod)

    def _only_warns(self, id: str, milliseconds: int) -> None:
        """For so long; then it blocks, at what it was or at less than is spent."""
        limit = self.world.budgets[id].limit_nano
        self._edit(id, on_breach=OnBreach.WARN)
        changes = {"on_breach": OnBreach.BLOCK, "limit_nano": max(1, int(limit * self.chance.choice([0.3, 0.8, 1.0])))}
        self.clock.after(milliseconds, lambda: self._edit(id, **changes))

    def _cut_off(self, pods: list[Pod], milliseconds: int) -> None:
        for pod in pods:
            if pod.connection:
                self.world.disconnect(pod)

        def back() -> None:
            self.world.now = self.clock.now
            for pod in pods:
                if pod.alive and not pod.connection:
                    self.world.connect(pod)

        self.clock.after(milliseconds, back)

    def overspend(self) -> dict[AccountRef, float]:
        """Of every account that was drawn on: spent beyond its limit, as a share of it. With faults: beyond the highest
        limit that it ever had and its overdraft, since limits are among what changes."""
        spent, highest = self.world.spent, self.world.highest
        limits = {ref: highest.get(ref, 0) if self.faults else self.budgets[ref.budget_id].limit_nano for ref in spent}
        return {ref: spent[ref] / limits[ref] - 1 for ref in spent if limits.get(ref)}


class Contrast:
    """Designs of others, without faults. `snapshot`: each pod checks what it last heard (10 s old, debits 4 s late);
    `counter`: one shared counter, read before and debited after."""

    def __init__(self, mix: Mix, pods: int, seed: int, *, shared: bool) -> None:
        self.mix, self.pods, self.seed, self.shared = mix, pods, seed, shared
        self.tally = Tally()
        self.budgets = budgets_of(mix)
        self.spent: dict[str, int] = dict.fromkeys(self.budgets, 0)

    def run(self) -> Tally:
        clock, tally, judge = Clock(), self.tally, Judge(self.budgets, self.tally)
        seen: dict[str, int] = dict.fromkeys(self.budgets, 0)
        known = [dict(seen) for _ in range(self.pods)]
        refreshed = [-self.seed % 10_000 - 10_000 + pod * 7 % 10_000 for pod in range(self.pods)]

        def debit(path: tuple[str, ...], cost: int) -> None:
            for id in path:
                seen[id] += cost

        def arrive(arrival: Arrival) -> None:
            path = path_of(arrival.principal, self.budgets)
            pod = (
                arrival.principal % self.pods
                if arrival.pick < self.mix.sticky
                else int(arrival.pick * 7919) % self.pods
            )
            if self.shared:
                tally.messages += 2
            elif clock.now - refreshed[pod] >= 10_000:
                tally.messages += 2
                refreshed[pod], known[pod] = clock.now, dict(seen)
            view = seen if self.shared else known[pod]
            if any(view[id] >= self.budgets[id].limit_nano for id in path):
                judge.refused(path, arrival.cost)
                return
            tally.admitted += 1
            tally.waits.append(2 * WIRE_MS if self.shared else 0)
            judge.admitted(path, arrival.cost)
            for id in path:
                self.spent[id] += arrival.cost
            takes = FIRST_BYTE_MS + arrival.output_tokens * 1000 // TOKENS_PER_SECOND
            tally.messages += 1 if self.shared else 0
            clock.after(takes + (0 if self.shared else 4_000), lambda: debit(path, arrival.cost))

        for arrival in self.mix.arrivals(self.seed):
            clock.at(arrival.at_ms, lambda arrival=arrival: arrive(arrival))  # type: ignore[misc]
        while clock.step():
            pass
        tally.steps = clock.steps
        return tally

    def overspend(self) -> dict[str, float]:
        return {id: spent / self.budgets[id].limit_nano - 1 for id, spent in self.spent.items() if spent}
