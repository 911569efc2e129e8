"""The money of this pod: its `LeaseBook`, and the Hold call to the control plane behind it.

Most requests are admitted from leases, without a message. At the edge of a budget one question goes out per request,
and everybody waits only for his own answer. While there is no contact, questions wait for the next connection, up to
the book's patience; then each budget's outage rule decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from dataplane.core.money.accounts import Account, Accounts
from dataplane.core.money.lease_book import Cut, Denied, Hold, HoldRules, LeaseBook
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
from dataplane.link.channel import Backoff, Fleet
from dataplane.link.watch import boottime_ms
from dataplane.telemetry import logs
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.tasks import spawn
from dataplane.wire.holds import Down, Up, message_up, said_down
from protos import fleet_pb2 as pb

REPORT_MS: Final = 5_000
SHORTEST_REPORT_MS: Final = 200
LOOK_S: Final = 0.5  # for the answer to a look that changes nothing
LOOK_AGAIN_MS: Final = 1_000
MOST_AT_ONCE: Final = 500  # said in one message
LOOKING: Final = "look"  # in place of a request's id
YOUNG_MS: Final = 500  # a question; an older one is taken for one that nobody answers
PROBLEMS_TOLD: Final = 3  # of those that the oracle finds at one time

Key = tuple[str, int]  # request id and attempt
OnCut = Callable[[Cut], None]


@dataclass(slots=True)
class _Waiting:
    """Somebody's question. `answer`: of an admission; a stream that is extended goes on meanwhile."""

    ask_id: int
    since: int  # milliseconds, of the pod's clock
    patience: asyncio.TimerHandle
    answer: asyncio.Future[Hold | Denied] | None
    grows: Hold | None = None
    charged: int = 0  # by the hold that grows, when it was looked at last


class Holds:
    """Implements the proxy's Holds. `run(fleet)` for as long as a connection lasts."""

    def __init__(
        self,
        pod_id: str,
        session: Callable[[], str],
        metrics: Metrics,
        backoff: Backoff,
        rules: HoldRules | None = None,
        clock: Callable[[], int] = boottime_ms,
    ) -> None:
        """`session` names a new one each time; `clock`: milliseconds of CLOCK_BOOTTIME."""
        self.book = LeaseBook(session(), clock(), rules)
        self._pod_id = pod_id
        self._session = session
        self._metrics = metrics
        self._backoff = backoff
        self._clock = clock
        self._ahead_ms = 0  # of the control plane's clock before ours
        self._report_ms = REPORT_MS
        self._waiting: dict[Key, _Waiting] = {}
        self._asked: dict[int, Key] = {}
        self._on_cut: dict[Hold, OnCut] = {}
        self._outgoing: asyncio.Queue[Up] | None = None  # None: no contact
        self._reopen = asyncio.Event()
        self._told = asyncio.Event()
        self._looks = 0
        self._looked_at = -LOOK_AGAIN_MS
        metrics.gauge_from("budget_holds", lambda: len(self.book.live))

    # What the proxy asks.

    def at_ms(self) -> int:
        """The control plane's clock: what decides which window an instant belongs to."""
        return time.time_ns() // 1_000_000 + self._ahead_ms

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
        return self.book.rules.step_nano if young and self._outgoing is not None else 0

    def settle(self, hold: Hold, actual: int) -> None:
        """The attempt has ended, however. Again: nothing."""
        self._on_cut.pop(hold, None)
        self.book.settle(hold, actual, self._clock())
        for returned in self.book.surplus(hold) if self._outgoing is not None else ():
            self._send(returned)

    def warning(self, hold: Hold) -> tuple[Account, int] | None:
        return self.book.warning(hold)

    def state(self, account: AccountRef) -> AccountState | None:
        """As the control plane told it last; None: it did not."""
        slice = self.book.slice_of(account)
        return slice.state if slice is not None and slice.state.limit_nano else None

    async def learn(self, accounts: Iterable[Account]) -> None:
        """Ask how accounts stand, if that is not known or older than a second. Returns when it is known, or soon
        anyway."""
        asked, now = tuple(accounts), self._clock()
        known = all(self.state(account.ref) is not None for account in asked)
        if self._outgoing is None or not asked or (known and now - self._looked_at < LOOK_AGAIN_MS):
            return
        self._looked_at = now
        self._looks += 1
        looked = self.book.hold(LOOKING, self._looks, asked, 0, 0, now)  # takes nothing: whatever is known is said
        if isinstance(looked, Ask):
            self.book.abandon(looked.ask_id)
        elif isinstance(looked, Hold):
            self.book.settle(looked, 0, now)
        self._send(self.book.report(now, self.at_ms()))
        self._told.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._told.wait()

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
                self._asked.pop(waiting.ask_id, None)
                self.book.abandon(waiting.ask_id)

    def _wait(self, ask: Ask, answer: asyncio.Future[Hold | Denied] | None, grows: Hold | None = None) -> None:
        key = (ask.request_id, ask.attempt)
        loop = asyncio.get_running_loop()
        patience = loop.call_later(self.book.rules.patience_ms / 1000, self._patience_ran_out, key)
        charged = grows.charged if grows is not None else 0
        self._waiting[key] = _Waiting(ask.ask_id, self._clock(), patience, answer, grows, charged)
        self._asked[ask.ask_id] = key

    def _patience_ran_out(self, key: Key) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            self._metrics.count("budget_answers_total", "none")
            self._came(waiting.ask_id, self.book.unanswered(waiting.ask_id, self._clock()))

    def _came(self, ask_id: int, outcome: Hold | Ask | Denied | Cut | None) -> None:
        """What became of a question."""
        key = self._asked.pop(ask_id, None)
        waiting = self._waiting.get(key) if key is not None else None
        if waiting is not None and waiting.grows is not None and waiting.grows.charged > waiting.charged:
            waiting.charged = waiting.grows.charged
            self._metrics.count("budget_extensions_total", "asked")
        if isinstance(outcome, Ask):
            if waiting is not None and key is not None:
                waiting.ask_id = outcome.ask_id
                self._asked[outcome.ask_id] = key
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
        self._send(ask)

    def _send(self, said: Up) -> None:
        """Without contact nothing is lost: asks go out with the next connection, and counters are cumulative."""
        if self._outgoing is not None:
            self._outgoing.put_nowait(said)

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
        """Nothing runs any more: everything back, as far as somebody listens."""
        outgoing = self._outgoing
        if outgoing is None:
            return
        for returned in self.book.drained():
            self._send(returned)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await outgoing.join()

    async def _one_call(self, fleet: Fleet) -> str:
        """Why it ended; "" to open another one at once."""
        call = fleet.hold()
        outgoing: asyncio.Queue[Up] = asyncio.Queue()
        outgoing.put_nowait(self.book.hello(self._clock()))
        self._reopen.clear()
        parts = [
            spawn(work, f"holds-{name}")
            for name, work in (
                ("write", self._write(call, outgoing)),
                ("read", self._read(call, outgoing)),
                ("reopen", self._reopen.wait()),
            )
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            if parts[2] in done:
                self._restart()
                return ""
            for part in done:
                part.result()
            return "the server ended the call"
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        except DecodeError:
            return "a message cannot be parsed"
        except (grpc.aio.UsageError, asyncio.InvalidStateError) as error:
            return str(error) or type(error).__name__  # written to a call that has ended
        finally:
            self._outgoing = None
            self.book.lost_contact(self._clock())
            for part in parts:
                part.cancel()
            call.cancel()
            await asyncio.wait(parts)

    async def _write(self, call: Any, outgoing: asyncio.Queue[Up]) -> None:
        """What has gathered while the last message went out goes in one."""
        while True:
            message = message_up(self._pod_id, await outgoing.get())
            more = min(outgoing.qsize(), MOST_AT_ONCE)
            for _ in range(more):
                message.MergeFrom(message_up(self._pod_id, outgoing.get_nowait()))
            self._metrics.count("budget_messages_total")
            await call.write(message)
            for _ in range(1 + more):
                outgoing.task_done()

    async def _read(self, call: Any, outgoing: asyncio.Queue[Up]) -> None:
        reporting: asyncio.Task[None] | None = None
        try:
            async for message in call:
                if reporting is None:
                    if not self._welcomed(message, outgoing):
                        return
                    reporting = spawn(self._report(), "holds-report")
                    continue
                for said in said_down(message):
                    self._received(said)
        finally:
            if reporting is not None:
                reporting.cancel()

    def _welcomed(self, message: pb.HoldDown, outgoing: asyncio.Queue[Up]) -> bool:
        welcome = next(said_down(message), None)
        if not isinstance(welcome, Welcome):
            raise asyncio.InvalidStateError("the first message was not Welcome")
        if message.welcome.server_time_ms:
            self._ahead_ms = message.welcome.server_time_ms - time.time_ns() // 1_000_000
        self._report_ms = max(SHORTEST_REPORT_MS, min(welcome.report_ms or REPORT_MS, REPORT_MS))
        if not self.book.welcomed(welcome, self._clock()):
            self._reopen.set()
            return True
        self._backoff.succeeded()
        self._outgoing = outgoing
        for ask in self.book.unanswered_asks:
            self._send(ask)
        return True

    def _received(self, said: Down) -> None:
        now = self._clock()
        match said:
            case Grant() as grant:
                self._metrics.count("budget_answers_total", "granted")
                self._came(grant.ask_id, self.book.granted(grant, now))
            case Deny() as deny:
                self._metrics.count("budget_answers_total", str(deny.reason))
                if deny.reason is DenyReason.CLOSED:
                    self._reopen.set()  # what is asked goes out again, in the next session
                else:
                    self._came(deny.ask_id, self.book.denied(deny, now))
            case Recall() as recall:
                for returned in self.book.recalled(recall.accounts, now):
                    self._send(returned)
            case ReportAck() as ack:
                self.book.acknowledged(ack, now)
                self._told.set()
            case _:
                return

    def _restart(self) -> None:
        """The session was ended without us; another one begins, and everybody's question with it."""
        logs.warning("holds_restarted", session=self.book.session, live=len(self.book.live))
        self.book.restart(self._session(), self._clock())
        self._asked.clear()
        for ask in self.book.unanswered_asks:
            key = (ask.request_id, ask.attempt)
            waiting = self._waiting.get(key)
            if waiting is not None:
                waiting.ask_id = ask.ask_id
                self._asked[ask.ask_id] = key

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._report_ms / 1000)
            self._send(self.book.report(self._clock(), self.at_ms()))
            self._look_for_problems()

    def _look_for_problems(self) -> None:
        """An alarm, never an exception: requests go on, and the control plane's own books bound what can happen."""
        problems = self.book.problems()
        if problems:
            self._metrics.count("budget_alarms_total", by=len(problems))
            logs.error("budget_alarm", problems=problems[:PROBLEMS_TOLD], count=len(problems))
