"""What a pod answers by itself, and what stands on every answer."""

from __future__ import annotations

import json
import re

import pytest

from tests.core import build
from tests.proxy.stage import ANSWER, MESSAGE, Response, Stage, answer, get, play, post


async def ask(stage: Stage, raw: bytes, method: str = "GET") -> Response:
    client = await stage.client()
    await client.send(raw)
    return await client.response(method)


def test_a_reachability_check_needs_no_key():
    async def scene() -> None:
        async with Stage() as stage:
            assert (await ask(stage, get("/api/hello", token=None))).status == 200
            assert (await ask(stage, get("/api/hello", token=None, method="HEAD"), "HEAD")).status == 200
            assert (await ask(stage, post("/api/hello", token=None))).status == 405

    play(scene())


def test_the_front_door_says_what_this_is():
    async def scene() -> None:
        async with Stage() as stage:
            said = json.loads((await ask(stage, get("/", token=None))).body)
            assert said["name"] == "AI Gateway"
            assert "/v1/messages" in said["routes"]

    play(scene())


@pytest.mark.parametrize(
    "raw",
    [
        get("/healthz", token=None),
        get("/nowhere", token=None),
        get("/v1/models", token=None),
        post("/v1/chat/completions", b"{}", token=None),
        post("/v1/messages", b"not json"),
        b"GET / HTTP/1.1\r\n\r\n",
        get("/v1/responses"),
    ],
)
def test_every_answer_carries_our_names(raw: bytes):
    async def scene() -> None:
        async with Stage() as stage:
            headers = (await ask(stage, raw)).headers
            assert re.fullmatch(r"req_[0-9a-f]{30}", headers["x-langwatch-request-id"])
            assert headers["x-langwatch-gateway-request-id"] == headers["x-langwatch-request-id"]
            trace, span = headers["x-langwatch-trace-id"], headers["x-langwatch-span-id"]
            assert headers["traceparent"] == f"00-{trace}-{span}-01"
            assert headers["x-langwatch-gateway-version"] == "9.9.9"

    play(scene())


def test_a_forwarded_answer_carries_them_too_and_says_who_answered():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
            await client.send(post("/v1/messages", MESSAGE, headers={"traceparent": parent, "X-Request-Id": "mine"}))
            provider = await stage.provider()
            _, got, _ = await provider.request()
            assert "traceparent" not in got
            await provider.send(answer(ANSWER, extra="request-id: theirs\r\n"))
            headers = (await client.response()).headers
            assert headers["x-langwatch-trace-id"] == "0af7651916cd43dd8448eb211c80319c"
            assert headers["traceparent"].endswith("-00")
            assert headers["x-langwatch-provider"] == "anthropic"
            assert headers["x-langwatch-model"] == "claude-sonnet-4-5"
            assert headers["x-langwatch-fallback-count"] == "0"
            assert headers["request-id"] == "theirs"
            record = await stage.settled()
            assert record.trace_id == "0af7651916cd43dd8448eb211c80319c"
            assert record.parent_span_id == "b7ad6b7169203331"
            assert record.span_id == headers["x-langwatch-span-id"]
            assert record.request_id == headers["x-langwatch-request-id"]

    play(scene())


@pytest.mark.parametrize(
    "parent",
    [
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "garbage",
    ],
)
def test_a_parent_that_is_none_is_ignored(parent: str):
    async def scene() -> None:
        async with Stage() as stage:
            headers = (await ask(stage, get("/", token=None, headers={"traceparent": parent}))).headers
            assert headers["x-langwatch-trace-id"] != "0af7651916cd43dd8448eb211c80319c"
            assert (await stage.settled()).parent_span_id == ""

    play(scene())


def test_request_ids_are_ours_sort_by_time_and_never_repeat():
    async def scene() -> None:
        async with Stage() as stage:
            ids = []
            for _ in range(50):
                ids.append((await ask(stage, get("/"))).headers["x-langwatch-request-id"])
                stage.wall_ms += 1
            assert len(set(ids)) == 50
            assert ids == sorted(ids)

    play(scene())


def test_an_unknown_route_is_404_and_a_wrong_method_405_in_the_openai_envelope():
    async def scene() -> None:
        async with Stage() as stage:
            unknown = await ask(stage, get("/nowhere"))
            assert (unknown.status, json.loads(unknown.body)["error"]["code"]) == (404, "not_found")
            wrong = await ask(stage, get("/v1/chat/completions"))
            assert (wrong.status, json.loads(wrong.body)["error"]["code"]) == (405, "method_not_allowed")
            assert wrong.headers["allow"] == "POST"
            head = await ask(stage, get("/v1/chat/completions", method="HEAD"), "HEAD")
            assert (head.status, head.headers["allow"]) == (405, "POST")
            assert (await ask(stage, post("/v1/models"))).headers["allow"] == "GET"

    play(scene())


def test_a_websocket_is_told_to_use_http():
    async def scene() -> None:
        async with Stage() as stage:
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            response = await ask(stage, get("/v1/responses", headers=upgrade))
            assert (response.status, json.loads(response.body)["error"]["code"]) == (426, "upgrade_not_supported")
            assert response.headers["upgrade"] == "websocket"

    play(scene())


@pytest.mark.parametrize(
    ("path", "headers", "names"),
    [
        ("/v1/models", {"anthropic-version": "2023-06-01"}, lambda said: [m["id"] for m in said["data"]]),
        ("/v1/models", {}, lambda said: [m["id"] for m in said["data"]]),
        ("/v1/models", {}, lambda said: [m["slug"] for m in said["models"]]),
        ("/v1beta/models", {}, lambda said: [m["baseModelId"] for m in said["models"]]),
    ],
)
def test_models_are_listed_from_memory_in_three_shapes(path, headers, names):
    async def scene() -> None:
        async with Stage(rows=(build.alias(),)) as stage:
            response = await ask(stage, get(path, headers=headers))
            assert response.status == 200
            family = "claude" if headers else "gemini" if "beta" in path else "gpt"
            assert family in names(json.loads(response.body))
            assert stage.nobody_called()
            record = await stage.settled()
            assert (record.operation, record.outcome, record.key_id) == ("models", "ok", "vk_1")
            assert stage.journal.admitted == []

    play(scene())


def test_a_model_that_is_not_there_is_not_recognized():
    async def scene() -> None:
        async with Stage() as stage:
            response = await ask(stage, get("/v1/models/nothing"))
            assert (response.status, json.loads(response.body)["error"]["code"]) == (404, "model_not_recognized")

    play(scene())


@pytest.mark.parametrize("status", ["404 Not Found", "405 Method Not Allowed", "501 Not Implemented"])
def test_tokens_are_counted_here_where_the_provider_does_not(status: str):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages/count_tokens", MESSAGE))
            await provider.send(answer(b'{"error":"no such thing"}', status=status))
            response = await client.response()
            assert response.headers["x-langwatch-token-count"] == "estimate"
            assert json.loads(response.body)["input_tokens"] > 0
            assert (await stage.settled()).cost_nano == 0

    play(scene())


def test_the_providers_own_count_is_passed_on():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages/count_tokens", MESSAGE))
            await provider.send(answer(b'{"input_tokens":11}'))
            response = await client.response()
            assert response.body == b'{"input_tokens":11}'
            assert "x-langwatch-token-count" not in response.headers
            record = await stage.settled()
            assert (record.operation, record.usage.units, record.cost_nano) == ("count_tokens", {}, 0)

    play(scene())


def test_metrics_and_probes_are_nobodys_requests():
    async def scene() -> None:
        async with Stage() as stage:
            for path in ("/metrics", "/healthz", "/readyz", "/startupz", "/health"):
                response = await ask(stage, get(path, token=None))
                assert response.status == 200, path
            assert b"open_exchanges" in (await ask(stage, get("/metrics", token=None))).body
            assert json.loads((await ask(stage, get("/healthz", token=None))).body)["status"] == "ok"
            assert stage.telemetry.records == []

    play(scene())
