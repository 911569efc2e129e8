"""One call per exchange becomes metrics, a log line and a span; none of them holds a secret."""

import asyncio
import base64
import gc
import json
import os
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import quote

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from dataplane.core.usage import Outcome, Usage, UsageClass, UsageRecord, UsageSource
from dataplane.telemetry import logs, spans, traces
from dataplane.telemetry.metrics import Metrics
from dataplane.telemetry.tallies import MOST_KINDS
from dataplane.telemetry.telemetry import AT_ONCE, SHARE, PodTelemetry
from dataplane.telemetry.traces import BATCH, NoSpans, SpanExporter, parse_headers

RECORD = UsageRecord(
    request_id="req_0123",
    started_at_ms=1_000_000,
    ended_at_ms=1_002_500,
    duration_ms=2_500,
    first_byte_ms=800,
    organization_id="org_1",
    team_id="team_1",
    project_id="proj_1",
    principal_id="prin_1",
    key_id="vk_1",
    provider_id="prov_1",
    provider_kind="anthropic",
    dialect="anthropic_messages",
    operation="messages",
    model_requested="fast",
    model="claude-x",
    model_reported="claude-x-1",
    client="claude_code",
    client_version="2.1",
    session="s-1",
    streaming=True,
    http_status=200,
    usage=Usage(
        {UsageClass.INPUT: 10, UsageClass.CACHE_READ: 90, UsageClass.CACHE_WRITE_5M: 7, UsageClass.OUTPUT: 5},
        UsageSource.PROVIDER,
    ),
    cost_nano=1_500_000_000,
    priced=True,
    trace_id="ab" * 16,
    span_id="cd" * 8,
    parent_span_id="ef" * 8,
    events=42,
    tags=("cli", "team-a"),
)
REFUSED = UsageRecord(
    request_id="req_9", outcome=Outcome.REFUSED, refusal_code="invalid_api_key", http_status=401, client="other",
    dialect="openai_chat", trace_id="01" * 16, span_id="02" * 8,
)  # fmt: skip


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND)
    logs.configure("debug", fd)

    def read() -> str:
        logs.flush()
        text: str = path.read_text()
        return text

    yield read
    logs.configure("info", 1)
    os.close(fd)


def finish(telemetry: PodTelemetry, record: UsageRecord, overhead_us: int) -> None:
    """An exchange of one attempt, of which this is the record."""
    telemetry.finished(record, (record,), overhead_us)


def exposed(telemetry: PodTelemetry) -> str:
    text: bytes = telemetry.exposition()
    return text.decode()


def test_an_exchange_is_counted_with_its_tokens_cost_and_times(written):
    telemetry = PodTelemetry(Metrics("1"), NoSpans())
    finish(telemetry, RECORD, 250)
    text = exposed(telemetry)
    assert 'requests_total{client="claude_code",code="",dialect="anthropic_messages",outcome="ok"} 1.0' in text
    assert 'tokens_total{class="cache_read",provider_kind="anthropic"} 90.0' in text
    assert 'cost_dollars_total{provider_kind="anthropic"} 1.5' in text
    assert 'request_duration_seconds_sum{dialect="anthropic_messages"} 2.5' in text
    assert 'first_byte_seconds_sum{dialect="anthropic_messages"} 0.8' in text
    assert "overhead_seconds_sum 0.00025" in text
    assert (telemetry.requests_total, telemetry.refusals_total) == (1, 0)
    line = json.loads(written())
    assert (line["event"], line["request_id"], line["input_tokens"], line["output_tokens"]) == (
        "exchange",
        "req_0123",
        107,
        5,
    )


def test_a_refusal_is_counted_and_logged_but_used_nothing(written):
    telemetry = PodTelemetry(Metrics("1"), NoSpans())
    telemetry.finished(REFUSED, (), 40)
    text = exposed(telemetry)
    assert 'requests_total{client="other",code="invalid_api_key",dialect="openai_chat",outcome="refused"} 1.0' in text
    assert "first_byte_seconds_count" not in text
    assert telemetry.refusals_total == 1
    line = json.loads(written())
    assert "key_id" not in line
    assert line["http_status"] == 401


def test_sums_of_many_kinds_are_exact_and_kinds_that_clients_invent_are_not_kept():
    telemetry = PodTelemetry(Metrics("1"), NoSpans())
    for number in range(1_000):
        finish(telemetry, replace(RECORD, client=f"invented-{number}"), 100 * number)
        finish(telemetry, RECORD, 250)
    telemetry.flush()
    assert len(telemetry._tallies._by_kind) <= MOST_KINDS
    text = exposed(telemetry)
    assert 'requests_total{client="other",code="",dialect="anthropic_messages",outcome="ok"} 1000.0' in text
    assert 'requests_total{client="claude_code",code="",dialect="anthropic_messages",outcome="ok"} 1000.0' in text
    assert 'tokens_total{class="output",provider_kind="anthropic"} 10000.0' in text
    assert 'overhead_seconds_bucket{le="0.00025"} 1003.0' in text
    assert 'overhead_seconds_bucket{le="0.1"} 2000.0' in text
    assert "overhead_seconds_count 2000.0" in text
    assert 'first_byte_seconds_bucket{dialect="anthropic_messages",le="1.0"} 2000.0' in text
    assert exposed(telemetry).count('requests_total{client="other"') == text.count('requests_total{client="other"')


def test_usage_that_no_price_list_covered_is_seen():
    telemetry = PodTelemetry(Metrics("1"), NoSpans())
    for why in ("tier", "class", "tier"):
        telemetry.unpriced("anthropic", "prov_1", why, "req_1")
    assert 'unpriced_total{provider_kind="anthropic",why="tier"} 2.0' in exposed(telemetry)
    assert 'unpriced_total{provider_kind="anthropic",why="class"} 1.0' in exposed(telemetry)


def test_records_are_counted_a_moment_later_without_anybody_asking():
    async def story():
        telemetry = PodTelemetry(Metrics("1"), NoSpans())
        finish(telemetry, RECORD, 1)  # before the loop runs
        telemetry.start()
        for _ in range(500):
            finish(telemetry, RECORD, 1)
        async with asyncio.timeout(60):
            while telemetry.requests_total < 501:
                await asyncio.sleep(0.005)
        await telemetry.close(1)

    asyncio.run(story())


# ---- spans ----


def exported(*finished: tuple[UsageRecord, int]) -> list[Span]:
    encoded = [spans.encode(record, (record,), overhead_us) for record, overhead_us in finished]
    sent = ExportTraceServiceRequest.FromString(spans.request({"service.name": "aigateway"}, "1", encoded))
    return list(sent.resource_spans[0].scope_spans[0].spans)


def attributes(span: Span) -> dict:
    def plain(value):
        kind = value.WhichOneof("value")
        found = getattr(value, kind)
        return [plain(item) for item in found.values] if kind == "array_value" else found

    return {pair.key: plain(pair.value) for pair in span.attributes}


def test_an_exchange_is_a_server_span_under_the_callers_and_its_attempt_a_client_span_under_that():
    server, client = exported((RECORD, 500))
    assert (server.kind, client.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert server.trace_id == client.trace_id == bytes.fromhex(RECORD.trace_id)
    assert (server.span_id.hex(), server.parent_span_id.hex()) == (RECORD.span_id, RECORD.parent_span_id)
    assert client.parent_span_id == server.span_id != client.span_id
    assert client.name == "chat claude-x"
    assert (server.start_time_unix_nano, server.end_time_unix_nano) == (10**12, 10**12 + 2_500_000_000)
    said = attributes(server)
    assert said["langwatch.vk.tags"] == said["langwatch.labels"] == ["cli", "team-a"]
    assert said["langwatch.virtual_key_id"] == "vk_1"
    assert said["langwatch.cost_usd"] == 1.5
    assert said["langwatch.fallback.attempts_count"] == 1
    assert said["langwatch.session_id"] == said["gen_ai.conversation.id"] == "s-1"
    asked = attributes(client)
    assert (asked["gen_ai.provider.name"], asked["gen_ai.request.model"]) == ("anthropic", "claude-x")
    assert asked["gen_ai.response.model"] == "claude-x-1"
    assert (asked["gen_ai.usage.input_tokens"], asked["gen_ai.usage.output_tokens"]) == (107, 5)
    assert asked["gen_ai.usage.cache_read.input_tokens"] == 90
    assert asked["gen_ai.usage.cache_creation.input_tokens"] == 7


def test_a_refusal_is_traced_without_an_attempt():
    [server] = exported((REFUSED, 10))
    assert attributes(server)["error.type"] == "invalid_api_key"
    assert attributes(server)["langwatch.fallback.attempts_count"] == 0


def test_an_exchange_that_has_everything_says_it_all():
    full = replace(
        RECORD,
        metadata='{"ticket": "ü"}',
        end_user_id="user-1",
        provider_request_id="p" * 150,
        request_bytes=100_000,
        response_bytes=2**40,
        attempt=1,
        session="s" * 120,
        model_requested="m" * 300,  # too long to be remembered
    )
    server, client = exported((full, 1_500))
    said, asked = attributes(server), attributes(client)
    assert said["langwatch.reserved.request_metadata"] == '{"ticket": "ü"}'
    assert said["langwatch.end_user_id"] == "user-1"
    assert (said["http.request.body.size"], said["http.response.body.size"]) == (100_000, 2**40)
    assert said["gen_ai.conversation.id"] == asked["gen_ai.conversation.id"] == "s" * 120
    assert said["langwatch.requested_model"] == "m" * 300
    assert (said["langwatch.stream.chunk_count"], said["langwatch.stream.first_chunk_ms"]) == (42, 800)
    assert said["langwatch.gateway.overhead_ms"] == 1.5
    assert asked["langwatch.provider_request_id"] == "p" * 150
    assert (asked["langwatch.fallback.attempt"], said["langwatch.fallback.attempts_count"]) == (1, 2)
    assert client.start_time_unix_nano == server.start_time_unix_nano + 1_500_000


def test_the_attempts_of_an_exchange_have_spans_of_their_own():
    ids = {exported((replace(RECORD, attempt=attempt), 1))[1].span_id for attempt in range(50)}
    assert len(ids) == 50


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.PROVIDER_ERROR, Outcome.CUT])
def test_what_went_wrong_is_marked_on_the_attempt(outcome):
    _, client = exported((replace(RECORD, outcome=outcome), 10))
    assert client.status.code == Status.STATUS_CODE_ERROR


def test_ids_that_are_none_make_no_span():
    assert exported((replace(RECORD, trace_id="zz"), 1), (replace(RECORD, span_id=""), 1)) == []


def test_more_that_ends_in_a_turn_than_is_looked_at_in_one_does_not_pile_up(monkeypatch):
    monkeypatch.setattr(logs, "wants", lambda level: False)
    telemetry = PodTelemetry(Metrics("1"), NoSpans())
    for _ in range(100):
        for _ in range(3 * AT_ONCE):
            finish(telemetry, RECORD, 1)
        telemetry._drain()
    assert len(telemetry._pending) < 3 * AT_ONCE * SHARE
    assert telemetry.requests_total == 300 * AT_ONCE - len(telemetry._pending)


# ---- several attempts ----

FAILED = replace(
    RECORD,
    ended_at_ms=1_000_400,
    duration_ms=400,
    first_byte_ms=0,
    provider_id="prov_0",
    provider_kind="openai",
    model="gpt-x",
    model_reported="",
    outcome=Outcome.FAILED,
    refusal_code="provider_error",
    http_status=502,
    usage=Usage({UsageClass.INPUT: 3}, UsageSource.METERED),
    cost_nano=500_000_000,
)
ANSWERED = replace(RECORD, attempt=1, started_at_ms=1_000_500, duration_ms=2_000)


class Spans(NoSpans):
    def __init__(self) -> None:
        self.encoded: list[bytes] = []

    def add(self, record: UsageRecord, attempts: Sequence[UsageRecord], overhead_us: int) -> None:
        self.encoded.append(spans.encode(record, attempts, overhead_us))

    def all(self) -> list[Span]:
        sent = ExportTraceServiceRequest.FromString(spans.request({}, "1", self.encoded))
        return list(sent.resource_spans[0].scope_spans[0].spans)


def test_two_attempts_are_one_exchange_with_a_client_span_each_and_what_each_used_at_its_provider(written):
    sink = Spans()
    telemetry = PodTelemetry(Metrics("1"), sink)
    telemetry.finished(ANSWERED, (FAILED, ANSWERED), 250)
    text = exposed(telemetry)
    assert telemetry.requests_total == 1
    assert 'requests_total{client="claude_code",code="",dialect="anthropic_messages",outcome="ok"} 1.0' in text
    assert text.count("aigateway_requests_total{") == 1
    assert 'request_duration_seconds_sum{dialect="anthropic_messages"} 2.5' in text
    assert 'request_duration_seconds_count{dialect="anthropic_messages"} 1.0' in text
    assert 'first_byte_seconds_sum{dialect="anthropic_messages"} 1.3' in text
    assert "overhead_seconds_count 1.0" in text
    assert 'tokens_total{class="input",provider_kind="openai"} 3.0' in text
    assert 'tokens_total{class="input",provider_kind="anthropic"} 10.0' in text
    assert 'cost_dollars_total{provider_kind="openai"} 0.5' in text
    assert 'cost_dollars_total{provider_kind="anthropic"} 1.5' in text
    [line] = [json.loads(each) for each in written().splitlines()]
    assert (line["attempt"], line["outcome"], line["provider_id"]) == (1, "ok", "prov_1")
    assert (line["input_tokens"], line["cost_nano"], line["duration_ms"]) == (110, 2_000_000_000, 2_500)
    server, first, second = sink.all()
    assert [span.kind for span in (server, first, second)] == [
        *(Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_CLIENT),
    ]
    assert first.parent_span_id == second.parent_span_id == server.span_id
    assert len({server.span_id, first.span_id, second.span_id}) == 3
    assert (server.start_time_unix_nano, server.end_time_unix_nano) == (10**12, 10**12 + 2_500_000_000)
    assert (first.end_time_unix_nano, second.end_time_unix_nano) == (10**12 + 400_000_000, 10**12 + 2_500_000_000)
    assert second.start_time_unix_nano == 10**12 + 500_250_000
    assert attributes(server)["langwatch.fallback.attempts_count"] == 2
    assert attributes(server)["langwatch.cost_usd"] == 2
    assert server.status.code == Status.STATUS_CODE_UNSET
    assert [attributes(span)["langwatch.fallback.attempt"] for span in (first, second)] == [0, 1]
    assert [attributes(span)["langwatch.cost_usd"] for span in (first, second)] == [0.5, 1.5]
    assert [attributes(span)["gen_ai.provider.name"] for span in (first, second)] == ["openai", "anthropic"]
    assert first.status.code == Status.STATUS_CODE_ERROR


def test_an_exchange_that_is_refused_after_its_first_attempt_has_that_one_span_below_it(written):
    refused = replace(
        RECORD, attempt=1, started_at_ms=1_000_500, ended_at_ms=1_000_600, outcome=Outcome.REFUSED,
        refusal_code="budget_exceeded", http_status=402, provider_id="", provider_kind="", model="", usage=Usage(),
        cost_nano=0, first_byte_ms=0,
    )  # fmt: skip
    sink = Spans()
    telemetry = PodTelemetry(Metrics("1"), sink)
    telemetry.finished(refused, (FAILED,), 250)
    text = exposed(telemetry)
    assert (telemetry.requests_total, telemetry.refusals_total) == (1, 1)
    assert text.count("aigateway_requests_total{") == 1
    assert 'cost_dollars_total{provider_kind="openai"} 0.5' in text
    server, first = sink.all()
    assert attributes(server)["error.type"] == "budget_exceeded"
    assert attributes(server)["langwatch.fallback.attempts_count"] == 1
    assert attributes(first)["langwatch.provider_id"] == "prov_0"


def test_a_secret_in_an_earlier_attempt_leaves_no_trace():
    sink = Spans()
    telemetry = PodTelemetry(Metrics("1"), sink)
    telemetry.finished(ANSWERED, (replace(FAILED, provider_request_id=CANARIES[1]), ANSWERED), 1)
    telemetry.flush()
    assert b"[redacted]" in sink.encoded[0]
    assert CANARIES[1].encode() not in sink.encoded[0]


class Collector:
    """Answers with the given statuses, then 200 for ever."""

    def __init__(self, *statuses: int):
        self.statuses = list(statuses)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.statuses.pop(0) if self.statuses else 200)

    def spans(self) -> int:
        return sum(
            len(ExportTraceServiceRequest.FromString(request.content).resource_spans[0].scope_spans[0].spans)
            for request in self.requests
        )


def export(collector: Callable[[httpx.Request], httpx.Response], count: int, metrics: Metrics) -> None:
    async def story():
        async with httpx.AsyncClient(transport=httpx.MockTransport(collector)) as client:
            headers = parse_headers("authorization=Bearer%20t")
            exporter = SpanExporter(lambda: client, "http://collector:4318", headers, {"service.version": "1"}, metrics)
            for _ in range(count):
                exporter.add(RECORD, (RECORD,), 1)
            exporter.start()
            await exporter.close(30)

    asyncio.run(story())


def test_spans_go_to_the_collector_in_batches_with_the_operators_headers():
    collector, metrics = Collector(), Metrics("1")
    export(collector, BATCH + 44, metrics)
    assert collector.spans() == 2 * (BATCH + 44)
    assert len(collector.requests) == 2
    assert str(collector.requests[0].url) == "http://collector:4318/v1/traces"
    assert collector.requests[0].headers["authorization"] == "Bearer t"
    assert f'spans_total{{result="sent"}} {BATCH + 44}.0'.encode() in metrics.exposition()


def test_a_batch_is_forgotten_once_it_was_sent_not_when_the_garbage_collector_looks():
    kept: list[weakref.ref[httpx.Request]] = []

    def collector(request: httpx.Request) -> httpx.Response:
        kept.append(weakref.ref(request))
        return httpx.Response(200)

    gc.disable()
    try:
        export(collector, BATCH + 44, Metrics("1"))
        assert [request() for request in kept] == [None, None]
    finally:
        gc.enable()


def test_a_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not(monkeypatch):
    real_sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: real_sleep(0))
    collector, metrics = Collector(503, 200, 400), Metrics("1")
    export(collector, BATCH + 44, metrics)
    assert len(collector.requests) == 3
    assert f'spans_total{{result="sent"}} {BATCH}.0'.encode() in metrics.exposition()
    assert b'spans_total{result="failed"} 44.0' in metrics.exposition()


def test_spans_beyond_the_bound_are_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(traces, "QUEUE", 10)
    collector, metrics = Collector(), Metrics("1")
    export(collector, 25, metrics)
    assert collector.spans() == 20
    assert b'spans_total{result="dropped"} 15.0' in metrics.exposition()


@pytest.mark.parametrize("text", ["authorization", "=x", "a=b%0d%0aevil: 1"])
def test_headers_that_make_no_sense_are_refused_without_repeating_them(text):
    with pytest.raises(ValueError, match="percent-encoded") as caught:
        parse_headers(text)
    assert text not in str(caught.value)


# ---- canaries ----

CANARIES = [
    "lw_vk_live_0CANARY000ABCDEFGHJKMNPQRSTVWXYZ0123456789",
    "sk-ant-api03-CANARYcanaryCANARYcanary",
    "AIzaSyCANARYcanaryCANARYcanaryCANARY",
]


WRITTEN_BY_OTHERS = (
    *("model_requested", "model", "model_reported", "session", "client", "client_version", "dialect", "operation"),
    *("refusal_code", "provider_request_id", "metadata", "end_user_id"),
)


def forms(secret: str) -> list[bytes]:
    raw = secret.encode()
    return [raw, base64.b64encode(raw), raw.hex().encode(), quote(secret, safe="").encode(), raw[:20]]


@pytest.mark.parametrize("canary", CANARIES)
def test_a_key_that_a_client_puts_where_it_does_not_belong_leaves_no_trace(canary, written):
    encoded: list[bytes] = []

    class Sink(NoSpans):
        def add(self, record: UsageRecord, attempts: Sequence[UsageRecord], overhead_us: int) -> None:
            encoded.append(spans.encode(record, attempts, overhead_us))

    telemetry = PodTelemetry(Metrics("1"), Sink())
    hostile = replace(
        RECORD, model_requested=canary, model=canary, session=canary, client=canary, client_version=canary,
        dialect=canary, operation=canary, refusal_code=canary, provider_request_id=canary, metadata=canary,
    )  # fmt: skip
    for placed in (hostile, *(replace(RECORD, **{name: canary}) for name in WRITTEN_BY_OTHERS)):
        finish(telemetry, placed, 1)
    finish(telemetry, replace(RECORD, tags=(canary,)), 1)
    finish(telemetry, replace(RECORD, model_requested=canary + "\ud800" + "x" * 300), 1)
    telemetry.flush()
    logs.error("failed", error=RuntimeError(f"upstream said {canary}"), headers={"authorization": f"Bearer {canary}"})
    assert len(encoded) == len(WRITTEN_BY_OTHERS) + 3
    everything = exposed(telemetry).encode() + written().encode() + spans.request({"service.name": "x"}, "1", encoded)
    assert b"upstream said" in everything
    assert everything.count(b"[redacted]") > 2 * len(encoded)
    for form in forms(canary):
        assert form not in everything


def test_a_provider_that_refuses_the_organization_is_counted_by_its_id(capfd):
    metrics = Metrics("1")
    telemetry = PodTelemetry(metrics, NoSpans())
    refused = replace(RECORD, outcome=Outcome.PROVIDER_ERROR, refusal_code="provider_credential_refused")
    for record in (refused, replace(refused, provider_id="prov_2"), refused, RECORD):
        finish(telemetry, record, 1)
    exposed = telemetry.exposition().decode()
    for provider, count in (("prov_1", 2), ("prov_2", 1)):
        line = f'provider_refusals_total{{provider="{provider}",provider_kind="anthropic"}} {count}.0'
        assert f"aigateway_{line}" in exposed
