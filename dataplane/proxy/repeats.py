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
class _Answer:
    """What a session got to hear last, for which request, and when it asked."""

    request: bytes
    accounts: Accounts
    refusal: Refusal
    times: deque[float] = field(default_factory=lambda: deque(maxlen=MOST))


class Repeats:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: dict[Session, _Answer] = {}

    def check(self, session: Session, body: bytes, accounts: Accounts) -> None:
        """Raises Refusal(RATE_LIMITED) for the sixth time within ten seconds. A changed budget and a new window, which
        make other accounts, forgive."""
        last = self._answers.get(session) if self._answers else None
        if last is None or len(last.times) < MOST:
            return
        now = self._clock()
        if now - last.times[0] <= WITHIN_S and (last.request, last.accounts) == (_fingerprint(body), accounts):
            last.times.append(now)
            meta = {"repeated": True, "budget_id": last.refusal.budget_id}
            raise Refusal(Code.RATE_LIMITED, last.refusal.message, meta=meta, retry_after=WAIT_S)

    def remember(self, session: Session, body: bytes, accounts: Accounts, refusal: Refusal) -> None:
        """This request was refused like this."""
        request = _fingerprint(body)
        last = self._answers.pop(session, None)
        if last is None or (last.request, last.accounts) != (request, accounts):
            last = _Answer(request, accounts, refusal)
        last.times.append(self._clock())
        self._answers[session] = last
        if len(self._answers) > REMEMBERED:
            del self._answers[next(iter(self._answers))]


def _fingerprint(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()
