"""What the proxy asks of the link about money."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from dataplane.core.money.accounts import Account, Accounts
from dataplane.core.money.lease_book import Cut, Denied, Hold
from dataplane.core.money.messages import AccountRef, AccountState


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
