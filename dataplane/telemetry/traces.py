"""Spans on their way to the operator's collector: OTLP over HTTP, protobuf, in batches, never in anybody's way.

What the collector does not take in time is dropped and counted; usage records, which are money, do not go this way.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote

from dataplane.core.usage import UsageRecord
from dataplane.telemetry import logs, spans
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.tasks import spawn

if TYPE_CHECKING:
    import httpx

BATCH: Final = 512  # exchanges, about 700 KB: fewer requests to the collector cost less
QUEUE: Final = 8_192  # 12 MB of encoded spans
INTERVAL_S: Final = 2.0
TRIES: Final = 3
RETRYABLE: Final = frozenset({429, 502, 503, 504})  # OTLP specification, "Retryable Response Codes"


class SpanSink(Protocol):
    """Where finished exchanges go to become spans; their records hold nothing that looks like a secret."""

    def add(self, record: UsageRecord, attempts: Sequence[UsageRecord], overhead_us: int) -> None: ...

    async def close(self, timeout_s: float) -> None: ...


class NoSpans:
    """No collector is configured."""

    def add(self, record: UsageRecord, attempts: Sequence[UsageRecord], overhead_us: int) -> None: ...

    async def close(self, timeout_s: float) -> None: ...


class SpanExporter:
    """Queue, batches, one sender. `start` on a running loop; `close` sends what is left.

    `client` is called in a thread, for the first batch: httpx takes a while to load, which a pod has when it is ready,
    not before.
    """

    def __init__(
        self,
        client: Callable[[], httpx.AsyncClient],
        endpoint: str,
        headers: dict[str, str],
        resource: dict[str, str],
        metrics: Metrics,
    ) -> None:
        self._make_client = client
        self._client: httpx.AsyncClient | None = None
        self._url = endpoint if endpoint.endswith("/v1/traces") else endpoint.rstrip("/") + "/v1/traces"
        self._headers = {**headers, "content-type": "application/x-protobuf"}
        self._resource = resource
        self._metrics = metrics
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._failing = False
        self._sender: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sender = spawn(self._run(), "span-sender")

    def add(self, record: UsageRecord, attempts: Sequence[UsageRecord], overhead_us: int) -> None:
        if len(self._queue) >= QUEUE:
            self._metrics.count("spans_total", "dropped")
            return
        self._queue.append(spans.encode(record, attempts, overhead_us))
        if len(self._queue) == BATCH:
            self._wake.set()

    async def close(self, timeout_s: float) -> None:
        self._closing = True
        self._wake.set()
        if self._sender is not None:
            await asyncio.wait([self._sender], timeout=timeout_s)
            self._sender.cancel()
        if self._client is not None:
            await self._client.aclose()

    async def _run(self) -> None:
        while not self._closing or self._queue:
            if len(self._queue) < BATCH and not self._closing:
                await self._wait()
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            if batch:
                await self._send(batch)

    async def _wait(self) -> None:
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), INTERVAL_S)
        except TimeoutError:
            return

    async def _send(self, batch: list[bytes]) -> None:
        if self._client is None:
            self._client = await asyncio.to_thread(self._make_client)
        import httpx  # loaded by now

        body = spans.request(self._resource, self._resource["service.version"], batch)
        problem = ""
        for tries in range(TRIES):
            if tries:
                await asyncio.sleep(2**tries / 2)
            try:
                answer = await self._client.post(self._url, content=body, headers=self._headers)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            # In httpx an answer and its stream hold each other, and with them the batch. The garbage collector counts
            # objects and not bytes: it would come after 490 batches, which are 55 to 340 MB.
            answer.stream = httpx.ByteStream(b"")
            if answer.is_success:
                self._metrics.count("spans_total", "sent", by=len(batch))
                self._failing = False
                return
            problem = f"status {answer.status_code}"
            if answer.status_code not in RETRYABLE:
                break
        self._metrics.count("spans_total", "failed", by=len(batch))
        if not self._failing:  # once per outage
            self._failing = True
            logs.warning("spans_not_delivered", collector=httpx.URL(self._url).host, problem=problem)


def parse_headers(text: str) -> dict[str, str]:
    """`name=value[,…]`, percent-encoded (OTEL_EXPORTER_OTLP_HEADERS). Raises ValueError without repeating the text."""
    headers: dict[str, str] = {}
    for pair in filter(None, (pair.strip() for pair in text.split(","))):
        name, equals, value = pair.partition("=")
        value = unquote(value.strip())
        if not equals or not name.strip() or not value.isprintable():
            raise ValueError("headers are name=value, comma-separated and percent-encoded")
        headers[unquote(name.strip()).lower()] = value
    return headers


class LoopWatch:
    """How late the loop is: a task that asks for a turn twice a second and measures when it gets it."""

    INTERVAL_S: Final = 0.5
    COMPLAIN_S: Final = 1.0

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(self.INTERVAL_S)
            lag = max(0.0, time.monotonic() - began - self.INTERVAL_S)
            self._metrics.observe("loop_lag_seconds", lag)
            if lag > self.COMPLAIN_S:
                logs.warning("loop_lagged", seconds=round(lag, 3))
