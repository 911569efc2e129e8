"""`PodTelemetry`: one call per exchange, from which metrics, the access log and spans are made a moment later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final, TypeAlias

from dataplane.core.usage import Outcome, UsageRecord
from dataplane.telemetry import access, logs
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.redaction import scrubbed, spotless
from dataplane.telemetry.tallies import Tallies
from dataplane.telemetry.tasks import spawn
from dataplane.telemetry.traces import LoopWatch, SpanSink
from dataplane.telemetry.whole import whole

BATCH_S: Final = 0.05
AT_ONCE: Final = 10  # records per turn of the loop, about 0.2 ms: whoever is answered meanwhile waits so long
SHARE: Final = 8  # of many that wait, one in so many: more may come in a turn than AT_ONCE

Finished: TypeAlias = tuple[UsageRecord, Sequence[UsageRecord], int]  # as `finished` is called


class PodTelemetry:
    """Implements the proxy's port. `finished` appends; the rest happens in batches on the same loop."""

    def __init__(self, metrics: Metrics, sink: SpanSink) -> None:
        self.metrics = metrics
        self.requests_total = 0
        self.refusals_total = 0
        self._open = 0
        metrics.gauge_from("open_exchanges", lambda: self._open)
        self._tallies = Tallies(metrics)
        self._sink = sink
        self._pending: list[Finished] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """On the pod's loop. Before it, records wait."""
        self._loop = asyncio.get_running_loop()
        self._watch = spawn(LoopWatch(self.metrics).run(), "loop-watch")
        if self._pending:
            self._loop.call_soon(self._drain)

    async def close(self, timeout_s: float) -> None:
        self.flush()
        if self._watch is not None:
            self._watch.cancel()
        await self._sink.close(timeout_s)

    def finished(self, record: UsageRecord, attempts: Sequence[UsageRecord], overhead_us: int) -> None:
        self._pending.append((record, attempts, overhead_us))
        if len(self._pending) == 1 and self._loop is not None:
            self._loop.call_later(BATCH_S, self._drain)

    def echoed(self, provider_kind: str, provider_id: str, where: str, request_id: str) -> None:
        self.metrics.count("credential_echoes_total", provider_kind, provider_id, where)
        logs.error("provider_repeats_its_credential", provider_id=provider_id, where=where, request_id=request_id)

    def unpriced(self, provider_kind: str, provider_id: str, why: str, request_id: str) -> None:
        self.metrics.count("unpriced_total", provider_kind, why)
        logs.warning("unpriced", provider_id=provider_id, why=why, request_id=request_id)

    def open_exchanges(self, count: int) -> None:
        self._open = count

    def exposition(self) -> bytes:
        self.flush()
        return self.metrics.exposition()

    def flush(self) -> None:
        """Everything handed over so far is counted when this returns."""
        pending, self._pending = self._pending, []
        self._take(pending)

    def _drain(self) -> None:
        count = max(AT_ONCE, len(self._pending) // SHARE)
        now, self._pending = self._pending[:count], self._pending[count:]
        self._take(now)
        if self._pending and self._loop is not None:
            self._loop.call_soon(self._drain)

    def _take(self, finished: list[Finished]) -> None:
        logged = logs.wants(logs.Level.INFO)
        at_ns = time.time_ns()
        stamp = logs.stamp_of(at_ns)
        self.requests_total += len(finished)
        for record, attempts, overhead_us in finished:
            exchange = whole(record, attempts) if record.attempt else record
            self.refusals_total += record.outcome is Outcome.REFUSED
            self._tallies.add(exchange, attempts, overhead_us)
            clean = spotless(record) and (not record.attempt or all(map(spotless, attempts)))
            shown = exchange if clean else scrubbed(exchange)
            self._sink.add(shown, attempts if clean else [scrubbed(attempt) for attempt in attempts], overhead_us)
            if logged:
                logs.write(access.line(shown, overhead_us, at_ns, stamp, spotless=clean))
