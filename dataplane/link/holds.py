"""The money of this pod: its `LeaseBook`, and the control plane behind it, asked over one `HoldCall` at a time.

Most requests are admitted from leases, without a message. At the edge of a budget one question goes out per request,
and each request waits only for its own answer. While there is no contact, questions wait for the next connection, up
to the book's patience; then each budget's outage rule decides.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from dataplane.core.money.accounts import Account, Accounts
from dataplane.core.money.holds import Cut, Denied, Hold
from dataplane.core.money.lease_book import LeaseBook
from dataplane.core.money.messages import (
    AccountRef,
    AccountState,
    Ask,
    Deny,
    DenyReason,
    Grant,
    Recall,
    ReportAck,
    Welcome,
)
from dataplane.core.money.slices import HoldRules
from dataplane.core.money.unknown_windows import UnknownWindows
from dataplane.link.channel import Backoff, Fleet
from dataplane.link.clock import FleetClock, boottime_ms
from dataplane.link.hold_call import HoldCall
from dataplane.telemetry import logs
from dataplane.telemetry.metrics import Metrics
from dataplane.wire.holds import Down, Up

REPORT_MS: Final = 5_000
SHORTEST_REPORT_MS: Final = 200
LOOK_S: Final = 0.5  # for the answer to a look that changes nothing
LOOK_AGAIN_MS: Final = 1_000
LOOKING: Final = "look"  # in place of a request's id
YOUNG_MS: Final = 500  # a question; an older one is taken for one that nobody answers
PROBLEMS_LOGGED: Final = 3  # of those that are there at one time

Key = tuple[str, int]  # request id and attempt
OnCut = Callable[[Cut], None]


@dataclass(slots=True)
class _Waiting:
    """A request's question. `answer`: of an admission; a stream that is extended goes on meanwhile."""

    ask_id: int
    since: int  # milliseconds, of the pod's clock
    patience: asyncio.TimerHandle
    answer: asyncio.Future[Hold | Denied] | None
    grows: Hold | None = None
    charged: int = 0  # by the hold that grows, when it was looked at last


class LeaseClient:
    """Implements the proxy's `Holds`. `run(fleet)` for as long as a connection lasts."""

    def __init__(
        self,
        pod_id: str,
        new_session: Callable[[], str],
        metrics: Metrics,
        backoff: Backoff,
        rules: HoldRules | None = None,
        clock: Callable[[], int] = boottime_ms,
        fleet_clock: FleetClock | None = None,
    ) -> None:
        """`new_session` names a lease session, another one each time; `clock`: milliseconds of CLOCK_BOOTTIME;
        `fleet_clock`: hears of the control plane's time, and tells it."""
        self.book = LeaseBook(new_session(), clock(), rules)
        self._pod_id = pod_id
        self._new_session = new_session
        self._metrics = metrics
        self._backoff = backoff
        self._clock = clock
        self._fleet_clock = fleet_clock or FleetClock(boottime=clock)
        # When the hello of the call was made.
        self._greeted_at = 0
        self._report_ms = REPORT_MS
        # The requests that wait for an answer, and whose question each ask is.
        self._waiting: dict[Key, _Waiting] = {}
        self._keys: dict[int, Key] = {}
        # Whom to tell that a stream has to end.
        self._on_cut: dict[Hold, OnCut] = {}
        # The call that is open and welcomed; None: no contact.
        self._call: HoldCall | None = None
        # Set whenever a report was answered.
        self._acknowledged = asyncio.Event()
        # Looks at accounts that change nothing: how many, and when the last one was.
        self._looks = 0
        self._looked_at = -LOOK_AGAIN_MS
        # What the control plane does not know of.
        self._unknown = UnknownWindows()
        metrics.gauge_from("budget_holds", lambda: len(self.book.live))

    # What the proxy asks.

    def at_ms(self) -> int:
        """The control plane's clock: what decides which window an instant belongs to."""
        return self._fleet_clock.at_ms()

    async def hold(self, request_id: str, attempt: int, accounts: Accounts, need: int, minimum: int) -> Hold | Denied:
        """Money on every account, or the one that stands in the way."""
        outcome = self.book.hold(request_id, attempt, accounts, need, minimum, self._clock())
        if isinstance(outcome, Ask):
            outcome = await self._answer(outcome)
        if isinstance(outcome, Denied):
            self._metrics.count("budget_refusals_total", "remembered" if outcome.remembered else str(outcome.reason))
        return outcome

    def watch(self, hold: Hold, on_cut: OnCut) -> None:
        """Before the first `accrue`: whom to tell, once, that the stream has to end."""
        self._on_cut[hold] = on_cut

    def accrue(self, hold: Hold, accrued: int) -> None:
        """What the attempt has cost so far: extends the hold ahead of need. May call `on_cut` before it returns."""
        before = hold.charged
        outcome = self.book.accrue(hold, accrued, self._clock())
        if isinstance(outcome, Ask):
            self._wait(outcome, None, hold)
            self._send_ask(outcome)
        elif isinstance(outcome, Cut):
            self._cut(outcome)
        elif hold.charged > before:
            self._metrics.count("budget_extensions_total", "leased")
        elif hold.asking and accrued > hold.charged + self._in_advance(hold):
            self._patience_ran_out((hold.request_id, hold.attempt))

    def _in_advance(self, hold: Hold) -> int:
        """How far a stream may run beyond its hold while it asks: one step, for as long as an answer may be expected.

        Questions go out before the money is used up. Two hundred streams that wait for a database that restarts must
        not each run a step beyond a budget: then the rule for when nobody answers decides, without waiting longer.
        """
        waiting = self._waiting.get((hold.request_id, hold.attempt))
        young = waiting is not None and self._clock() - waiting.since < YOUNG_MS
        return self.book.rules.step_nano if young and self._call is not None else 0

    def settle(self, hold: Hold, actual: int) -> None:
        """The attempt has ended, however. Again: nothing."""
        self._on_cut.pop(hold, None)
        self.book.settle(hold, actual, self._clock())
        for returned in self.book.surplus(hold) if self._call is not None else ():
            self._send(returned)

    def warning(self, hold: Hold) -> tuple[Account, int] | None:
        return self.book.warning(hold)

    def state(self, account: AccountRef) -> AccountState | None:
        """As the control plane told it last; None: it did not."""
        part = self.book.slice_of(account)
        return part.state if part is not None and part.state.limit_nano else None

    def configured(self) -> None:
        """Another revision is live here: where running requests go by other rules now, the control plane hears at once
        what they hold."""
        now = self._clock()
        if self.book.configured(now):
            self._send(self.book.report(now, self.at_ms()))

    async def refresh(self, accounts: Iterable[Account]) -> None:
        """Ask how accounts stand, if that is not known or older than a second. Returns when it is known, or soon
        anyway."""
        wanted, now = tuple(accounts), self._clock()
        complete = all(self.state(account.ref) is not None for account in wanted)
        if self._call is None or not wanted or (complete and now - self._looked_at < LOOK_AGAIN_MS):
            return
        self._looked_at = now
        self._looks += 1
        looked = self.book.hold(LOOKING, self._looks, wanted, 0, 0, now)  # takes nothing: whatever is known is said
        if isinstance(looked, Ask):
            self.book.abandon(looked.ask_id)
        elif isinstance(looked, Hold):
            self.book.settle(looked, 0, now)
        self._send(self.book.report(now, self.at_ms()))
        self._acknowledged.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._acknowledged.wait()

    def problem(self) -> str:
        """Why requests under some budgets are not served here, whoever asks; "" for nothing."""
        return self._unknown.problem(self._clock())

    # Questions and their answers.

    async def _answer(self, ask: Ask) -> Hold | Denied:
        key = (ask.request_id, ask.attempt)
        answer: asyncio.Future[Hold | Denied] = asyncio.get_running_loop().create_future()
        self._wait(ask, answer)
        self._send_ask(ask)
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and isinstance(held := answer.result(), Hold):
                self.book.settle(held, 0, self._clock())  # it came in the moment in which nobody wanted it any more
            raise
        finally:
            waiting = self._waiting.pop(key, None)
            if waiting is not None:
                waiting.patience.cancel()
                self._keys.pop(waiting.ask_id, None)
                self.book.abandon(waiting.ask_id)

    def _wait(self, ask: Ask, answer: asyncio.Future[Hold | Denied] | None, grows: Hold | None = None) -> None:
        key = (ask.request_id, ask.attempt)
        loop = asyncio.get_running_loop()
        patience = loop.call_later(self.book.rules.patience_ms / 1000, self._patience_ran_out, key)
        charged = grows.charged if grows is not None else 0
        self._waiting[key] = _Waiting(ask.ask_id, self._clock(), patience, answer, grows, charged)
        self._keys[ask.ask_id] = key

    def _patience_ran_out(self, key: Key) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            self._metrics.count("budget_answers_total", "none")
            self._resolve(waiting.ask_id, self.book.unanswered(waiting.ask_id, self._clock()))

    def _resolve(self, ask_id: int, outcome: Hold | Ask | Denied | Cut | None) -> None:
        """Take the outcome of a question to whoever waits for it."""
        key = self._keys.pop(ask_id, None)
        waiting = self._waiting.get(key) if key is not None else None
        if waiting is not None and waiting.grows is not None and waiting.grows.charged > waiting.charged:
            waiting.charged = waiting.grows.charged
            self._metrics.count("budget_extensions_total", "asked")
        if isinstance(outcome, Ask):
            if waiting is not None and key is not None:
                waiting.ask_id = outcome.ask_id
                self._keys[outcome.ask_id] = key
            self._send_ask(outcome)
            return
        if isinstance(outcome, Cut):
            self._cut(outcome)
        if waiting is None or key is None:
            return
        del self._waiting[key]
        waiting.patience.cancel()
        self._metrics.observe("budget_ask_seconds", (self._clock() - waiting.since) / 1000)
        if waiting.answer is not None and isinstance(outcome, Hold | Denied) and not waiting.answer.done():
            waiting.answer.set_result(outcome)

    def _cut(self, cut: Cut) -> None:
        self._metrics.count("budget_cuts_total", str(cut.reason))
        on_cut = self._on_cut.pop(cut.hold, None)
        if on_cut is not None:
            on_cut(cut)

    def _send_ask(self, ask: Ask) -> None:
        self._metrics.count("budget_asks_total", str(ask.kind))
        if self._call is not None:
            self._put(ask, self._call)

    def _put(self, ask: Ask, call: HoldCall) -> None:
        for returned in self.book.withdrawn(ask):
            call.send(returned)
        call.send(ask)

    def _send(self, message: Up) -> None:
        """Without contact nothing is lost: asks go out with the next connection, and counters are cumulative."""
        if self._call is not None:
            self._call.send(message)

    # The connection.

    async def run(self, fleet: Fleet) -> None:
        """Calls on this connection, one after another, until cancelled."""
        try:
            while True:
                problem = await self._one_call(fleet)
                if problem:
                    logs.warning("holds_interrupted", problem=problem, waiting=len(self._waiting))
                    await asyncio.sleep(self._backoff.pause())
        finally:
            self.book.lost_contact(self._clock())

    async def close(self) -> None:
        """Nothing runs any more: everything back, as far as the control plane listens."""
        call = self._call
        if call is None:
            return
        for returned in self.book.drained():
            self._send(returned)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await call.sent()

    async def _one_call(self, fleet: Fleet) -> str:
        """Returns why it ended; "" to open another one at once."""
        call = HoldCall(fleet.hold(), self._pod_id, self._metrics)
        self._greeted_at = self._clock()
        try:
            problem = await call.run(self.book.hello(self._greeted_at), self)
            if not problem:
                self._restart()
            return problem
        finally:
            self._call = None
            self.book.lost_contact(self._clock())
            await call.end()

    def welcomed(self, call: HoldCall, welcome: Welcome) -> None:
        """The call may be used, unless the lease session was ended meanwhile."""
        self._fleet_clock.heard(welcome.server_time_ms, self._greeted_at, self._clock())
        self._report_ms = max(SHORTEST_REPORT_MS, min(welcome.report_ms or REPORT_MS, REPORT_MS))
        if not self.book.welcomed(welcome, self._clock()):
            call.leave()
            return
        self._backoff.succeeded()
        self._call = call
        for ask in self.book.unanswered_asks:
            self._put(ask, call)

    def received(self, message: Down) -> None:
        """What the control plane says of our asks and reports, or wants back."""
        now = self._clock()
        match message:
            case Grant() as grant:
                self._metrics.count("budget_answers_total", "granted")
                for item in grant.items:
                    self._unknown.served(item.account.window_key)
                self._resolve(grant.ask_id, self.book.granted(grant, now))
            case Deny() as deny:
                self._metrics.count("budget_answers_total", str(deny.reason))
                if deny.reason is DenyReason.UNKNOWN:
                    self._unknown.unknown(deny.account.window_key, now)
                elif deny.reason is DenyReason.EXHAUSTED:
                    self._unknown.served(deny.account.window_key)
                if deny.reason is not DenyReason.CLOSED:
                    self._resolve(deny.ask_id, self.book.denied(deny, now))
                elif self._call is not None:
                    self._call.leave()  # what is asked goes out again, in the next lease session
            case Recall() as recall:
                for returned in self.book.recalled(recall.accounts, now):
                    self._send(returned)
            case ReportAck() as ack:
                self.book.acknowledged(ack, now)
                self._acknowledged.set()
            case _:
                return

    def _restart(self) -> None:
        """The lease session was ended without us; another one begins, and every question with it."""
        logs.warning("holds_restarted", session=self.book.session, live=len(self.book.live))
        self.book.restart(self._new_session(), self._clock())
        self._keys.clear()
        for ask in self.book.unanswered_asks:
            key = (ask.request_id, ask.attempt)
            waiting = self._waiting.get(key)
            if waiting is not None:
                waiting.ask_id = ask.ask_id
                self._keys[ask.ask_id] = key

    async def keep_reporting(self) -> None:
        while True:
            await asyncio.sleep(self._report_ms / 1000)
            self._send(self.book.report(self._clock(), self.at_ms()))
            self._look_for_problems()

    def _look_for_problems(self) -> None:
        """An alarm, never an exception: requests go on, and the control plane's accounts bound what can happen."""
        problems = self.book.problems()
        if problems:
            self._metrics.count("budget_alarms_total", by=len(problems))
            logs.error("budget_alarm", problems=problems[:PROBLEMS_LOGGED], count=len(problems))
