"""What the proxy asks of the link and of telemetry: the configuration, the journal, money, and somebody to tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from dataplane.core.money.accounts import Account, Accounts
from dataplane.core.money.lease_book import Cut, Denied, Hold
from dataplane.core.money.messages import AccountRef, AccountState
from dataplane.core.secret import Secret
from dataplane.core.snapshot import Ref, Snapshot
from dataplane.core.usage import UsageRecord


class Configuration(Protocol):
    """What the control plane decided, as far as this pod knows."""

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def peppers(self) -> Mapping[int, Secret]: ...

    def fresh(self, bound_ms: int) -> bool:
        """Was the configuration known to be the newest less than `bound_ms` ago (0: the default bound)?"""
        ...

    async def learn(self, public_id: str) -> bool:
        """Ask the control plane for a key minted a moment ago. False: there is none. Raises Refusal if nobody knows."""
        ...

    def on_revoked(self, callback: Callable[[frozenset[str], bool], None]) -> None:
        """`callback(key ids, cut their running streams?)` after each revision that stopped keys."""
        ...

    def on_cut(self, callback: Callable[[frozenset[Ref]], None]) -> None:
        """`callback(rows)` after each revision with which an admin ended what runs under these rows."""
        ...


class Journal(Protocol):
    """Usage records on their way to the ledger."""

    def admit(self, record: UsageRecord) -> None:
        """Written when it returns: the record changes afterwards. Raises Refusal(SPOOL_FULL)."""
        ...

    def settle(self, record: UsageRecord) -> None:
        """Written when it returns; never raises."""
        ...


class Holds(Protocol):
    """The leases of this pod, and the control plane behind them."""

    def at_ms(self) -> int:
        """The control plane's clock: what decides which window an instant belongs to."""
        ...

    def hold(
        self, request_id: str, attempt: int, accounts: Accounts, need: int, minimum: int
    ) -> Awaitable[Hold | Denied]:
        """Money on every account, or the one that stands in the way."""
        ...

    def watch(self, hold: Hold, on_cut: Callable[[Cut], None]) -> None:
        """Before the first `accrue`: whom to tell, once, that the stream has to end."""
        ...

    def accrue(self, hold: Hold, accrued: int) -> None:
        """What the attempt has cost so far: extends the hold ahead of need. May call `on_cut` before it returns."""
        ...

    def settle(self, hold: Hold, actual: int) -> None:
        """The attempt has ended, however. Again: nothing."""
        ...

    def warning(self, hold: Hold) -> tuple[Account, int] | None:
        """Of its accounts the one that is fullest, if it has passed its first threshold, and its per cent."""
        ...

    def state(self, account: AccountRef) -> AccountState | None:
        """As the control plane told it last; None: it did not."""
        ...

    def refresh(self, accounts: Iterable[Account]) -> Awaitable[None]:
        """Ask how accounts stand, if that is not known or old. Returns when it is known, or soon anyway."""
        ...

    def problem(self) -> str:
        """Why no request under some kind of budget is served here; "": nothing is wrong."""
        ...


class Telemetry(Protocol):
    """Metrics, access log, spans."""

    def finished(self, record: UsageRecord, attempts: Sequence[UsageRecord], overhead_us: int) -> None:
        """Once per exchange, refused ones included (unauthenticated: empty ids). Nobody fills the records in further.

        `record`: how it ended; the last attempt's own, if that was admitted. `attempts`: those of all that were.
        `overhead_us`: the pod's own time.
        """
        ...

    def echoed(self, provider_kind: str, provider_id: str, where: str, request_id: str) -> None:
        """An answer repeated the credential that its provider was shown: in an "error", where it was covered, or in
        other "content", which passed as it was."""
        ...

    def unpriced(self, provider_kind: str, provider_id: str, why: str, request_id: str) -> None:
        """The price list has no figure for what was used; `why`: a word of `Guess`."""
        ...

    def open_exchanges(self, count: int) -> None: ...

    def exposition(self) -> bytes:
        """This process's figures, as Prometheus wants them."""
        ...
