"""Loops of clients that do not take no for an answer: the same request again and again is answered from memory.

Only what was refused for a spent budget is remembered, so that ordinary requests pay one look at an empty dict. Where
nobody could be asked the next time may be different, and whoever tries again is right.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from dataplane.core.errors import Code, Refusal
from dataplane.core.money.accounts import Accounts

MOST: Final = 5  # the same request so often …
WITHIN_S: Final = 10.0  # … in so many seconds
WAIT_S: Final = 10
REMEMBERED: Final = 4_096  # sessions

Session = tuple[str, str]  # key id, client's session


@dataclass(slots=True)
class _Told:
    """What a session was told last, for which request, and when it asked."""

    request: bytes
    accounts: Accounts
    refusal: Refusal
    times: deque[float] = field(default_factory=lambda: deque(maxlen=MOST))


class Repeats:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: dict[Session, _Told] = {}

    def check(self, session: Session, body: bytes, accounts: Accounts) -> None:
        """Raises Refusal(RATE_LIMITED) for the sixth time within ten seconds. A changed budget and a new window, which
        make other accounts, forgive."""
        told = self._told.get(session) if self._told else None
        if told is None or len(told.times) < MOST:
            return
        now = self._clock()
        if now - told.times[0] <= WITHIN_S and (told.request, told.accounts) == (_fingerprint(body), accounts):
            told.times.append(now)
            meta = {"repeated": True, "budget_id": told.refusal.budget_id}
            raise Refusal(Code.RATE_LIMITED, told.refusal.message, meta=meta, retry_after=WAIT_S)

    def told(self, session: Session, body: bytes, accounts: Accounts, refusal: Refusal) -> None:
        """This request was refused like this."""
        request = _fingerprint(body)
        told = self._told.pop(session, None)
        if told is None or (told.request, told.accounts) != (request, accounts):
            told = _Told(request, accounts, refusal)
        told.times.append(self._clock())
        self._told[session] = told
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]


def _fingerprint(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()
