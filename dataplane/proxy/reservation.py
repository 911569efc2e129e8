"""What one attempt holds of the budgets above its key: followed while the answer runs, settled however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from dataplane.core.errors import Refusal
from dataplane.core.money import words as budget_words
from dataplane.core.money.lease_book import Cut, Hold, Reason
from dataplane.core.snapshot import OrganizationView
from dataplane.core.usage import Usage, UsageClass, UsageSource
from dataplane.dialects import clients
from dataplane.dialects.dialect import DialectName, Meter
from dataplane.dialects.meters import EventMeter
from dataplane.proxy.http.heads import Field
from dataplane.proxy.pod import Pod

# How often a running answer is priced, which takes 20 µs: per so many bytes of output (64 tokens, a tenth of a cent
# with the dearest models) where its money is nearly used, per so many events where a provider counts hidden tokens
# along (Gemini).
LOOK_BYTES: Final = 256
LOOK_EVENTS: Final = 16
NEVER: Final = 1 << 62

# A tokeniser of today makes a token of at least so many bytes of text.
_BYTES_PER_TOKEN: Final = 3
_PICO_PER_NANO: Final = 1_000
_MINUTE_MS: Final = 60_000


class Asker(NamedTuple):
    """Of whom a model's output is to be expected as it was before."""

    model: str
    principal_id: str


class Reservation:
    """A hold, what became of the money in it, and what the answer's head says of it. `pico_per_token`: of the model's
    dearest output."""

    __slots__ = (
        *("_asker", "_estimates", "_events", "_holds", "_look_at_byte", "_look_at_event", "_pico_per_byte"),
        *("_view", "hold"),
    )

    def __init__(self, hold: Hold, pod: Pod, view: OrganizationView, asker: Asker, pico_per_token: int) -> None:
        self.hold = hold
        self._holds = pod.holds
        self._estimates = pod.estimates
        self._view = view
        self._asker = asker
        self._pico_per_byte = max(1, pico_per_token // _BYTES_PER_TOKEN)
        self._look_at_byte = 0
        self._look_at_event = NEVER
        self._events = NEVER

    def follow(
        self, meter: Meter, dialect: DialectName, cost_so_far: Callable[[], int], cut: Callable[[Refusal], None]
    ) -> Callable[[], None] | None:
        """What to call after every read of the running answer; None: nothing.

        Only a stream can be followed, and cut: an answer in one piece tells what it costs when it is over.
        """
        if not isinstance(meter, EventMeter):
            return None
        self._holds.watch(self.hold, partial(self._ended_by, cut))
        if dialect is DialectName.GEMINI:
            self._events = LOOK_EVENTS
            self._look_at_event = 1

        def look() -> None:
            if meter.produced >= self._look_at_byte or meter.events >= self._look_at_event:
                self._look(meter, cost_so_far())

        return look

    def _look(self, meter: Meter, accrued: int) -> None:
        self._holds.accrue(self.hold, accrued)
        ahead = (self.hold.charged - accrued) // 2  # the other half is for asking in time
        self._look_at_byte = meter.produced + max(LOOK_BYTES, ahead * _PICO_PER_NANO // self._pico_per_byte)
        self._look_at_event = meter.events + self._events

    def _ended_by(self, cut: Callable[[Refusal], None], reason: Cut) -> None:
        """The money is used up: in the loop's next turn, since what came last is still on its way to the client."""
        if reason.reason is Reason.EXHAUSTED:
            refusal = budget_words.exhausted(self._view, reason.account, reason.state, self._holds.at_ms())
        else:
            refusal = budget_words.unchecked(reason.account, reason.reason)
        asyncio.get_running_loop().call_soon(cut, refusal)

    def release(self) -> None:
        """Nothing was sent: all of it back."""
        self._holds.settle(self.hold, 0)

    def settle(self, cost_nano: int, usage: Usage) -> None:
        self._holds.settle(self.hold, cost_nano)
        if usage.source is UsageSource.PROVIDER:
            billed = usage.units.get
            self._estimates.learn(*self._asker, billed(UsageClass.OUTPUT, 0) + billed(UsageClass.OUTPUT_REASONING, 0))

    def fields(self, client: str) -> list[Field]:
        """How full the fullest budget is."""
        fields: list[Field] = []
        warning = self._holds.warning(self.hold)
        if warning is not None:
            account, percent = warning
            fields.append((b"X-Langwatch-Budget-Warning", f"{account.budget.scope_kind}:{percent}".encode()))
        return fields + self._codex_footer() if client == clients.CODEX else fields

    def _codex_footer(self) -> list[Field]:
        """What Codex shows below its input line: its own words for an allowance."""
        levels = [
            (state.percent, account.window)
            for account in self.hold.accounts
            if account.window.ends_ms and (state := self._holds.state(account.ref)) is not None
        ]
        if not levels:
            return []
        percent, window = max(levels, key=lambda each: each[0])
        return [
            (b"x-codex-primary-used-percent", b"%d" % min(percent, 100)),
            (b"x-codex-primary-window-minutes", b"%d" % ((window.ends_ms - window.starts_ms) // _MINUTE_MS)),
            (b"x-codex-primary-reset-at", b"%d" % (window.ends_ms // 1000)),
        ]
