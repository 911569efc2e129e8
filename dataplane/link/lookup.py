"""Keys that this pod does not know: one question per key and minute, not more than twenty in a second for all of them.

A key that was minted a moment ago works at once; a client that invents keys costs the control plane next to nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from dataplane.core.errors import Code, Refusal
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.tasks import spawn
from protos import fleet_pb2 as pb

REMEMBERED_S: Final = 60.0
REMEMBERED: Final = 10_000  # 1 MB; at twenty questions in a second 1,200 are remembered
RATE: Final = 20.0
BURST: Final = 100.0
PATIENCE_S: Final = 2.0  # for the answer and for the revision that it names


class NoContact(Exception):
    """The control plane cannot be asked."""


class KnownKeys(Protocol):
    """The configuration, as the lookup needs it."""

    def has_key(self, public_id: str) -> bool: ...

    async def reached(self, epoch: str, revision: int) -> None:
        """Returns once it is applied."""
        ...


class Lookup:
    """`ask` raises NoContact."""

    def __init__(
        self,
        ask: Callable[[str], Awaitable[pb.ResolveResponse]],
        configuration: KnownKeys,
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._ask = ask
        self._configuration = configuration
        self._clock = clock
        self._metrics = metrics
        self._asking: dict[str, asyncio.Task[bool | None]] = {}
        self._unknown: dict[str, float] = {}  # public id → until when; in the order of asking
        self._tokens = BURST
        self._filled_at = clock()

    async def learn(self, public_id: str) -> bool:
        """Whether the key is in the configuration now. Raises Refusal(503) when that cannot be known."""
        if self._configuration.has_key(public_id):
            return True
        now = self._clock()
        until = self._unknown.get(public_id)
        if until is not None and now < until:
            self._metrics.count("key_lookups_total", "remembered")
            return False
        asking = self._asking.get(public_id)
        if asking is None:
            self._take_token(now)
            asking = self._asking[public_id] = spawn(self._question(public_id), "lookup")
            asking.add_done_callback(lambda _: self._asking.pop(public_id, None))
        here = await asyncio.shield(asking)
        if here is None:
            raise Refusal(Code.OVERLOADED, "the control plane could not be asked about this key", retry_after=1)
        return here

    def _take_token(self, now: float) -> None:
        self._tokens = min(BURST, self._tokens + (now - self._filled_at) * RATE)
        self._filled_at = now
        if self._tokens < 1:
            self._metrics.count("key_lookups_total", "limited")
            raise Refusal(Code.OVERLOADED, "too many unknown keys at once; try again", retry_after=1)
        self._tokens -= 1

    async def _question(self, public_id: str) -> bool | None:
        """Returns whether the key is in the configuration now; None where the control plane did not answer."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self._ask(public_id)
                if answer.known:
                    await self._configuration.reached(answer.epoch, answer.revision)
        except (NoContact, TimeoutError):
            self._metrics.count("key_lookups_total", "failed")
            return None
        here = self._configuration.has_key(public_id)
        self._metrics.count("key_lookups_total", "known" if here else "unknown")
        if not here:
            self._remember(public_id)
        return here

    def _remember(self, public_id: str) -> None:
        self._unknown.pop(public_id, None)
        self._unknown[public_id] = self._clock() + REMEMBERED_S
        if len(self._unknown) > REMEMBERED:
            del self._unknown[next(iter(self._unknown))]
