"""The stages are the list that is written, and an exchange may need more than one attempt."""

import ast
import asyncio
import importlib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from dataplane.core.errors import Code, Refusal
from dataplane.core.routing import Candidate
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind
from dataplane.core.usage import Outcome, UsageRecord
from dataplane.proxy import pipeline
from dataplane.proxy.attempt import Attempt, AttemptState
from dataplane.proxy.exchange import Exchange, ExchangeState
from dataplane.proxy.inquiry import Inquiry
from dataplane.proxy.pod import Pod
from dataplane.proxy.provider.connection import UpstreamFailure
from dataplane.proxy.stages.attempt import attempt
from dataplane.proxy.stages.authenticate import authenticate, find_route
from dataplane.proxy.stages.hold import hold
from dataplane.proxy.stages.read import read
from dataplane.proxy.stages.relay import relay
from dataplane.proxy.stages.settle import settle
from dataplane.telemetry import spans
from tests.core import build
from tests.proxy.fake_holds import DOLLAR, budget
from tests.proxy.stage import ANSWER, MESSAGE, Peer, Response, Stage, answer, play, post

ROOT = Path(__file__).parents[2]

# ---- the list ----


def _of_architecture() -> list[str]:
    section = (ROOT / "ARCHITECTURE.md").read_text().split("\n## The life of a request", 1)[1]
    return re.findall(r"^(\w+)  ", section.split("```")[1], re.MULTILINE)


def test_the_stages_are_those_of_architecture_and_of_the_docstring_called_in_their_order():
    words = _of_architecture()
    assert len(words) == 7
    assert re.findall(r"^    (\w+)  ", pipeline.__doc__ or "", re.MULTILINE) == words
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(pipeline.live))) if isinstance(node, ast.Call)]
    named = [(call.lineno, call.col_offset, call.func.id) for call in calls if isinstance(call.func, ast.Name)]
    assert [name for _, _, name in sorted(named) if name in words] == words


@pytest.mark.parametrize("word", _of_architecture())
def test_a_stage_is_a_function_in_a_module_of_its_name(word: str):
    module = importlib.import_module(f"dataplane.proxy.stages.{word}")
    assert getattr(pipeline, word) is getattr(module, word)


# Constructors of what is assembled once, from parts that are named where it happens.
MANY_PARTS = {"pod.py Pod.assemble"}


def test_no_function_of_the_proxy_takes_more_than_five_things():
    crowded = set()
    for path in (ROOT / "dataplane" / "proxy").rglob("*.py"):
        for outer in ast.walk(ast.parse(path.read_text())):
            for node in ast.iter_child_nodes(outer):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                    taken = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                    if len(taken) - (taken[:1] in (["self"], ["cls"])) > 5:
                        names = [getattr(outer, "name", ""), getattr(node, "name", "lambda")]
                        crowded.add(f"{path.name} {'.'.join(filter(None, names))}")
    assert crowded <= MANY_PARTS


# ---- more than one attempt ----


async def live_twice(exchange: Exchange, pod: Pod) -> None:
    """`live`, with two candidates instead of one: where the first does not answer the second is asked."""
    try:
        exchange.started()
        route = find_route(exchange, pod)
        snapshot, key = await authenticate(exchange, pod)
        request = await read(exchange, route, pod.limits)
        inquiry = Inquiry(snapshot, snapshot.view(key.organization_id), key, route, request)
        for provider_id in ("prov_anthropic", "prov_second"):
            candidate = Candidate(snapshot.providers[provider_id], "claude-sonnet-4-5")
            try:
                with Attempt(exchange, inquiry, candidate) as one:
                    await hold(one)
                    response = await attempt(one)
                    if response is not None:
                        await relay(one, response)
                break
            except UpstreamFailure:
                if provider_id == "prov_second":
                    raise
    except (Refusal, UpstreamFailure, asyncio.CancelledError) as error:
        exchange.end(error)
    finally:
        settle(exchange)


@pytest.fixture
def twice(monkeypatch):
    monkeypatch.setattr(pipeline, "live", live_twice)


def second(stage: Stage) -> None:
    """Another provider of the same dialect, at the same address."""
    stage.configuration.change(
        build.provider(
            "prov_second",
            name="second",
            kind=ProviderKind.ANTHROPIC,
            base_url=f"http://127.0.0.1:{stage.provider_port}",
            credential=Secret("sk-ant-api03-another-secret"),
            private_network=True,
        )
    )


async def first_breaks_off(stage: Stage) -> Peer:
    """The client asks, the first provider hangs up."""
    client = await stage.client()
    (await stage.asked(client, post("/v1/messages", MESSAGE))).close()
    return client


def outcomes(stage: Stage) -> list[tuple[int, str]]:
    """Of the final records: which attempt, and how it ended."""
    return [(record.attempt, record.outcome.value) for record in stage.journal.settled]


def client_spans(record: UsageRecord, attempts: Sequence[UsageRecord]) -> tuple[Span, list[Span]]:
    encoded = spans.request({}, "1", [spans.encode(record, attempts, 1)])
    server, *below = ExportTraceServiceRequest.FromString(encoded).resource_spans[0].scope_spans[0].spans
    return server, below


def test_the_second_provider_answers_where_the_first_does_not(twice):
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            second(stage)
            stage.holds.left["bud_1"] = 2 * DOLLAR
            money: list[tuple[int, str, bool, int]] = []
            stage.journal.watch = lambda record: money.append(
                (record.attempt, record.status.value, stage.holds.in_flight > 0, len(stage.holds.settled))
            )
            client = await first_breaks_off(stage)
            stage.now += 2
            stage.wall_ms += 2_000
            provider = await stage.provider()
            _, headers, body = await provider.request()
            assert (headers["x-api-key"], body) == ("sk-ant-api03-another-secret", MESSAGE)
            await provider.send(answer(ANSWER))
            response = await client.response()
            assert (response.status, response.body) == (200, ANSWER)
            assert response.headers["x-langwatch-fallback-count"] == "1"
            assert response.headers["x-langwatch-provider"] == "second"
            record = await stage.settled()

            first_record, second_record = stage.journal.settled
            assert record is second_record
            assert [each.attempt for each in stage.journal.admitted] == [0, 1]
            assert outcomes(stage) == [(0, "failed"), (1, "ok")]
            assert first_record.request_id == second_record.request_id == response.headers["x-langwatch-request-id"]
            assert (first_record.provider_id, second_record.provider_id) == ("prov_anthropic", "prov_second")
            assert (first_record.refusal_code, second_record.refusal_code) == ("provider_error", "")
            # It had read the request: an answer in one piece may have cost all that was set aside for it.
            assert (first_record.cost_nano, first_record.http_status) == (first_record.reserved_nano, 502)
            assert (first_record.usage.source, second_record.usage.source) == ("held", "provider")
            assert second_record.usage.units
            assert second_record.cost_nano > 0
            for name in ("key_id", "principal_id", "model_requested", "request_bytes", "dialect", "trace_id", "client"):
                assert getattr(first_record, name) == getattr(second_record, name) != ""
            # Its money was given back before the second one's was set aside.
            assert money == [
                *((0, "admitted", True, 0), (0, "final", False, 1)),
                *((1, "admitted", True, 1), (1, "final", False, 2)),
            ]
            assert [cost for _, cost in stage.holds.settled] == [first_record.cost_nano, second_record.cost_nano]

            (attempts,) = stage.telemetry.attempts
            assert list(attempts) == [first_record, second_record]
            server, below = client_spans(record, attempts)
            assert [span.parent_span_id for span in below] == [server.span_id, server.span_id]
            assert server.kind == Span.SPAN_KIND_SERVER
            assert [span.kind for span in below] == [Span.SPAN_KIND_CLIENT] * 2

    play(scene())


def test_when_the_last_one_fails_too_the_client_hears_of_it_once(twice):
    async def scene() -> None:
        async with Stage() as stage:
            second(stage)
            client = await first_breaks_off(stage)
            provider = await stage.provider()
            await provider.request()
            provider.close()
            response = await client.response()
            assert (response.status, response.headers["x-langwatch-fallback-count"]) == (502, "1")
            await stage.settled()
            assert [(each.attempt, each.outcome.value) for each in stage.journal.settled] == [
                (0, "failed"),
                (1, "failed"),
            ]

    play(scene())


def test_a_second_attempt_that_a_budget_refuses_is_recorded_as_the_refusal_that_it_was(twice):
    async def scene() -> Response:
        async with Stage(rows=(budget(provider_id="prov_second"),)) as stage:
            second(stage)
            client = await first_breaks_off(stage)
            response = await client.response()
            record = await stage.settled()
            assert [each.attempt for each in stage.journal.admitted] == [0]
            assert [(each.attempt, each.outcome.value) for each in stage.journal.settled] == [
                (0, "failed"),
                (1, "refused"),
            ]
            assert (record.attempt, record.refusal_code, record.provider_id) == (1, "budget_exceeded", "")
            assert record.http_status == response.status
            assert [[each.attempt for each in attempts] for attempts in stage.telemetry.attempts] == [[0]]
            assert len(client_spans(record, stage.telemetry.attempts[0])[1]) == 1
            return response

    assert play(scene()).status >= 400


def test_a_client_that_leaves_during_the_second_attempt_ends_that_one(twice):
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            second(stage)
            stage.holds.left["bud_1"] = 2 * DOLLAR
            client = await first_breaks_off(stage)
            provider = await stage.provider()
            await provider.request()
            client.close()
            assert await provider.closed()
            await stage.settled()
            assert outcomes(stage) == [(0, "failed"), (1, "client_gone")]
            assert stage.holds.in_flight == 0

    play(scene())


# ---- states ----


@pytest.fixture
def tries(monkeypatch) -> list[Attempt]:
    """Every attempt that the pipeline makes."""
    seen: list[Attempt] = []

    class Seen(Attempt):
        __slots__ = ()

        def __init__(self, exchange: Exchange, inquiry: Inquiry, candidate: Candidate) -> None:
            super().__init__(exchange, inquiry, candidate)
            seen.append(self)

    monkeypatch.setattr(pipeline, "Attempt", Seen)
    return seen


def test_an_attempt_is_settled_once_and_goes_nowhere_from_there(tries):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            (one,) = tries
            assert (one.state, one.exchange.state) == (AttemptState.ASKED, ExchangeState.OPEN)
            await provider.send(answer(ANSWER))
            await client.response()
            record = await stage.settled()
            assert (one.state, one.exchange.state) == (AttemptState.SETTLED, ExchangeState.ENDED)
            one.settle(Outcome.FAILED, "internal_error")
            one.__exit__(None, RuntimeError("late"), None)
            assert record.outcome == "ok"
            assert len(stage.journal.settled) == 1
            with pytest.raises(AssertionError, match="an attempt does not go from SETTLED to ASKED"):
                one.asking()
            with pytest.raises(AssertionError, match="an exchange does not go from ENDED to ENDED"):
                one.exchange.refuse(Refusal(Code.INTERNAL_ERROR, "too late"))

    play(scene())


def test_an_attempt_begins_when_the_one_before_it_is_settled(tries):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await stage.asked(client, post("/v1/messages", MESSAGE))
            (one,) = tries
            with pytest.raises(AssertionError, match="when the one before it is settled"):
                Attempt(one.exchange, one.inquiry, one.candidate)

    play(scene())


def test_an_attempt_that_was_never_admitted_gives_its_money_back_and_leaves_the_record_to_the_exchange(tries):
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            stage.holds.left["bud_1"] = 2 * DOLLAR
            stage.journal.full = True
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE))
            assert (await client.response()).status == 503
            record = await stage.settled()
            (one,) = tries
            assert one.state is AttemptState.SETTLED
            assert stage.telemetry.attempts == [()]
            assert (record.outcome, record.refusal_code, record.cost_nano) == ("refused", "spool_full", 0)
            assert stage.journal.settled == [record]
            assert [cost for _, cost in stage.holds.settled] == [0]
            assert stage.holds.in_flight == 0

    play(scene())


def test_what_goes_wrong_without_a_word_is_recorded_as_a_defect(monkeypatch):
    async def nothing(attempt: Attempt, response: object) -> None:
        return

    monkeypatch.setattr(pipeline, "relay", nothing)

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER))
            assert await client.rest() == b""
            record = await stage.settled()
            assert (record.outcome, record.refusal_code) == ("failed", "internal_error")
            assert stage.journal.settled == [record]

    play(scene())
