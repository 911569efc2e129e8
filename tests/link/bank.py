"""The other end of Hold, as a test plays it: each call is a `Till` that hears what a pod says and answers as told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from dataplane.core.money.lease_book import HoldRules
from dataplane.link.channel import Backoff, Connector
from dataplane.link.holds import LeaseClient
from dataplane.telemetry.metrics import Metrics
from protos import fleet_pb2 as pb
from tests.link.scripted_fleet import ScriptedFleet, serving

DOWN = {"grant": "grants", "deny": "denies", "recall": "recalls", "report_ack": "report_acks"}


class Till:
    """One call."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.hangs_up = asyncio.Event()

    def takes(self, message: pb.HoldUp) -> None:
        if message.HasField("hello"):
            self._heard.put_nowait(("hello", message.hello))
        for kind, said in (("ask", message.asks), ("returned", message.returned), ("report", message.reports)):
            for one in said:
                self._heard.put_nowait((kind, one))

    async def hears(self, kind: str) -> Any:
        """The next message of this kind; others are skipped."""
        while True:
            heard, message = await self._heard.get()
            if heard == kind:
                return message

    def has_heard(self, kind: str) -> int:
        """How many of this kind wait to be heard."""
        return sum(heard == kind for heard, _ in list(self._heard._queue))  # type: ignore[attr-defined]

    async def welcomes(self, *, ttl_ms: int = 60_000, report_ms: int = 200, closed: bool = False, pods: int = 1) -> Any:
        hello = await self.hears("hello")
        welcome = pb.HoldWelcome(ttl_ms=ttl_ms, report_ms=report_ms, closed=closed, pods=pods, server_time_ms=1)
        await self.says(welcome=welcome)
        return hello

    async def says(self, welcome: Any = None, **one: Any) -> None:
        several = {DOWN[kind]: [message] for kind, message in one.items()}
        await self._context.write(pb.HoldDown(welcome=welcome, **several))

    async def grants(self, ask: Any, amount: int = 0, *, limit: int = 2_000_000_000) -> None:
        """What was asked for, or `amount` on each account."""
        items = [
            pb.Granted(
                account=item.account,
                granted_cum=amount or item.need_nano,
                amount_nano=amount or item.need_nano,
                state=pb.AccountState(limit_nano=limit, settled_nano=1, held_nano=amount or item.need_nano),
            )
            for item in ask.items
        ]
        await self.says(grant=pb.Grant(ask_id=ask.ask_id, items=items))

    async def denies(self, ask: Any, reason: Any = pb.DENY_REASON_EXHAUSTED) -> None:
        state = pb.AccountState(limit_nano=2_000_000_000, settled_nano=1_900_000_000, held_nano=100_000_000)
        await self.says(deny=pb.Deny(ask_id=ask.ask_id, reason=reason, account=ask.items[0].account, state=state))


@dataclass
class Bank(ScriptedFleet):
    tills: asyncio.Queue[Till] = field(default_factory=asyncio.Queue)

    async def Hold(self, request_iterator, context):  # type: ignore[override]
        till = Till(context)
        self.tills.put_nowait(till)

        async def listen():
            async for message in request_iterator:
                till.takes(message)

        parts = [asyncio.ensure_future(listen()), asyncio.ensure_future(till.hangs_up.wait())]
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()

    async def till(self) -> Till:
        return await self.tills.get()


@dataclass
class Banked:
    """A pod's money without the pod. Time is the test's where it says so."""

    holds: LeaseClient
    metrics: Metrics
    bank: Bank

    def counted(self, line: str) -> float:
        for said in self.metrics.exposition().decode().splitlines():
            if said.startswith(f"aigateway_{line} "):
                return float(said.rsplit(" ", 1)[1])
        return 0.0


@contextlib.asynccontextmanager
async def banking(rules: HoldRules | None = None, clock: Callable[[], int] | None = None) -> AsyncIterator[Banked]:
    """Connected; nobody has said anything yet."""
    names = iter(f"lse_{number}" for number in range(1, 100))
    metrics, bank = Metrics("test"), Bank()
    more: dict[str, Any] = {"clock": clock} if clock else {}
    holds = LeaseClient("pod_1", lambda: next(names), metrics, Backoff(lambda: 0.0), rules, **more)
    async with serving(bank) as port:
        _, fleet = Connector([f"127.0.0.1:{port}"], None, "").connect()
        task = asyncio.ensure_future(holds.run(fleet))
        try:
            yield Banked(holds, metrics, bank)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await fleet.close()
