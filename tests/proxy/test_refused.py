"""A provider refuses the organization itself: the client hears our words and nothing else; everything else passes."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

import brotli
import pytest

from dataplane.core.usage import UsageRecord
from dataplane.proxy.provider import refused
from tests.core import build
from tests.proxy.fake_holds import DOLLAR, budget
from tests.proxy.stage import (
    ANSWER,
    CREDENTIALS,
    EVENTS,
    MESSAGE,
    STREAM_HEAD,
    STREAMED_MESSAGE,
    Response,
    Stage,
    answer,
    chunk,
    event,
    get,
    play,
    post,
)

WORDS = "the organization's key for '%s' was refused; ask an admin of your organization"
CODEX = {"User-Agent": "codex_exec/0.169.0 (Debian)", "originator": "codex_exec"}
CLAUDE = {"User-Agent": "claude-cli/2.1.330 (external, cli)", "x-app": "cli"}
RESPONSES = b'{"model":"gpt-5.5","input":"hi"}'
CHAT = b'{"model":"gpt-4.1","messages":[]}'
GEMINI = b'{"contents":[]}'
GEMINI_MODEL = "/v1beta/models/gemini-2.5-pro"

# What a client asks, and the provider that is asked.
REQUESTS = {
    "messages": (post("/v1/messages?beta=true", MESSAGE), "anthropic"),
    "messages, streamed": (post("/v1/messages", STREAMED_MESSAGE), "anthropic"),
    "count_tokens": (post("/v1/messages/count_tokens", MESSAGE), "anthropic"),
    "responses": (post("/v1/responses", RESPONSES), "openai"),
    "responses, streamed": (post("/v1/responses", RESPONSES[:-1] + b',"stream":true}'), "openai"),
    "responses, compact": (post("/v1/responses/compact", RESPONSES), "openai"),
    "responses, tokens": (post("/v1/responses/input_tokens", RESPONSES), "openai"),
    "responses, stored": (get("/v1/responses/resp_1"), "openai"),
    "responses, deleted": (get("/v1/responses/resp_1", method="DELETE"), "openai"),
    "chat": (post("/v1/chat/completions", CHAT), "openai"),
    "chat, streamed": (post("/v1/chat/completions", CHAT[:-1] + b',"stream":true}'), "openai"),
    "embeddings": (post("/v1/embeddings", b'{"model":"text-embedding-3","input":"x"}'), "openai"),
    "gemini": (post(f"{GEMINI_MODEL}:generateContent", GEMINI), "gemini"),
    "gemini, streamed": (post(f"{GEMINI_MODEL}:streamGenerateContent?alt=sse", GEMINI), "gemini"),
    "gemini, array": (post(f"{GEMINI_MODEL}:streamGenerateContent", GEMINI), "gemini"),
    "gemini, tokens": (post(f"{GEMINI_MODEL}:countTokens", GEMINI), "gemini"),
    "gemini, embeddings": (post("/v1beta/models/gemini-embedding-001:embedContent", GEMINI), "gemini"),
    "gemini, caches": (get("/v1beta/cachedContents"), "gemini"),
}
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "anthropic": ("401 Unauthorized", {"type": "error", "error": {"type": "authentication_error", "message": ""}}),
    "openai": ("401 Unauthorized", {"error": {"type": "invalid_request_error", "code": "invalid_api_key"}}),
    "gemini": ("400 Bad Request", {"error": {"code": 400, "details": [{"reason": "API_KEY_INVALID"}]}}),
}


def body_of(name: str, message: str) -> tuple[str, bytes]:
    """Status and body of a refused credential, as its provider words it."""
    status, shape = BODIES[name]
    return status, json.dumps(shape | {"error": shape["error"] | {"message": message}}).encode()


async def said(stage: Stage, raw: bytes, reply: bytes, step: int = 0) -> tuple[Response, UsageRecord]:
    client = await stage.client()
    provider = await stage.asked(client, raw)
    await provider.send(reply, step)
    response = await client.response()
    return response, await stage.settled()


def error_of(response: Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(response.body)["error"]
    return found


def ours(response: Response, name: str = "anthropic", status: int = 502) -> None:
    """It is our refusal, final, in a whole answer."""
    error = error_of(response)
    assert (response.status, response.complete) == (status, True)
    assert error["message"].startswith(WORDS % name)
    assert response.headers["x-should-retry"] == "false"
    assert "retry-after" not in response.headers
    assert "provider_credential_refused" in response.body.decode()


@pytest.mark.parametrize("name", REQUESTS)
def test_on_every_route_the_client_hears_us_and_nothing_of_the_credential(name: str):
    raw, provider = REQUESTS[name]
    secret = CREDENTIALS[provider]
    masked = f"{secret[:7]}********{secret[-4:]}"
    status, body = body_of(provider, f"invalid x-api-key: {secret} ({secret[:12]}), {masked}. Log in again.")
    headers = f"x-echo: {secret}\r\nwww-authenticate: Bearer {secret}\r\nrequest-id: theirs_1\r\nretry-after: 99\r\n"

    async def scene() -> None:
        async with Stage() as stage:
            response, record = await said(stage, raw, answer(body, status=status, extra=headers))
            ours(response, provider)
            everything = response.body.decode() + repr(response.headers) + repr(record)
            for part in (secret, secret[:12], masked, secret[-6:]):
                assert part not in everything
            assert "x-api-key" not in response.body.decode()
            assert "Log in" not in response.body.decode()
            assert (record.outcome, record.refusal_code) == ("provider_error", "provider_credential_refused")
            assert (record.cost_nano, record.usage.units, record.http_status) == (0, {}, 502)
            assert record.provider_request_id == "theirs_1"
            expected = "invalid x-api-key: [redacted] ([redacted]), [redacted] Log in again."
            assert record.provider_error == f"{status[:3]}: {expected}"
            assert stage.journal.settled == [record]

    play(scene())


def test_the_words_say_whom_to_ask_and_that_ones_own_key_is_fine():
    async def scene() -> None:
        async with Stage(rows=(build.organization(price_list_id="price_1", contact="ops@acme.test"),)) as stage:
            reply = answer(b'{"error":{"type":"billing_error"}}', status="402 Payment Required")
            response, record = await said(stage, post("/v1/messages", MESSAGE), reply)
            assert error_of(response)["message"] == (
                "the organization's key for 'anthropic' was refused, since its account cannot pay; ask ops@acme.test "
                "to mend it (your own key is fine)"
            )
            assert error_of(response)["meta"] == {"provider": "anthropic", "reason": "payment"}
            assert record.provider_error == "402"

    play(scene())


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/messages", MESSAGE, CLAUDE, 502),
        ("/v1/responses", RESPONSES, CODEX, 400),
        ("/v1/chat/completions", CHAT, {"User-Agent": "OpenAI/Python 2.20.0"}, 400),
        ("/v1/chat/completions", CHAT, {"User-Agent": "curl/8"}, 502),
    ],
)
def test_each_client_gets_the_shape_that_it_stops_on(path: str, body: bytes, headers: dict[str, str], status: int):
    provider = "anthropic" if path == "/v1/messages" else "openai"

    async def scene() -> None:
        async with Stage() as stage:
            reply = answer(b"{}", status="401 Unauthorized")
            response, record = await said(stage, post(path, body, headers=headers), reply)
            ours(response, provider, status)
            assert record.http_status == status

    play(scene())


def test_the_connections_are_used_again():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(body_of("anthropic", "no")[1], status="401 Unauthorized"))
            ours(await client.response())
            await client.send(post("/v1/messages", MESSAGE))
            await provider.request()
            await provider.send(answer(ANSWER))
            assert (await client.response()).body == ANSWER

    play(scene())


# ---- bodies that are not nice ----

WRONG = body_of("anthropic", "invalid x-api-key")[1]
CODINGS = {"gzip": gzip.compress, "br": brotli.compress}


@pytest.mark.parametrize("step", [1, 7, 0])
def test_a_body_in_any_pieces_is_judged_whole(step: int):
    head = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
    text = body_of("anthropic", "Your API key does not have permission")[1].replace(b"authentication", b"permission")
    reply = head + b"".join(chunk(text[at : at + 5]) for at in range(0, len(text), 5)) + b"0\r\n\r\n"

    async def scene() -> None:
        async with Stage() as stage:
            ours((await said(stage, post("/v1/messages", MESSAGE), reply, step))[0])

    play(scene())


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized"])
def test_a_compressed_body_is_understood(coding: str, status: str):
    text = json.dumps(
        {"type": "error", "error": {"type": "invalid_request_error", "message": "This organization has been disabled."}}
    ).encode()
    reply = answer(CODINGS[coding](text), status=status, extra=f"Content-Encoding: {coding}\r\n")

    async def scene() -> None:
        async with Stage() as stage:
            response, record = await said(stage, post("/v1/messages", MESSAGE), reply)
            ours(response)
            assert "content-encoding" not in response.headers
            assert record.provider_error == f"{status[:3]}: This organization has been disabled."

    play(scene())


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"<html>log in</html>", status="401 Unauthorized", content_type="text/html"),
        answer(b"", status="401 Unauthorized"),
        answer(b"\x1f\x8b garbage", status="401 Unauthorized", extra="Content-Encoding: gzip\r\n"),
        answer(gzip.compress(b" " * 9_000_000), status="401 Unauthorized", extra="Content-Encoding: gzip\r\n"),
        answer(b"x", status="401 Unauthorized", extra="Content-Encoding: exi\r\n"),
        b"HTTP/1.1 401 Unauthorized\r\n\r\n" + b"{" * 200_000,
        answer(WRONG + b"\xff" * 3_000_000, status="401 Unauthorized"),
    ],
    ids=["html", "empty", "not gzip", "a bomb", "unknown coding", "no length", "huge"],
)
def test_whatever_a_401_says_it_is_ours(reply: bytes):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            provider.writer.write(reply)  # nobody may read all of it
            provider.writer.transport.set_write_buffer_limits(high=1 << 24)
            if b"Length" not in reply:
                provider.writer.write_eof()
            ours(await client.response())
            await stage.settled()

    play(scene())


def test_a_401_that_breaks_off_is_ours():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(WRONG, status="401 Unauthorized")[:-5])
            provider.close()
            ours(await client.response())

    play(scene())


def test_nobody_waits_for_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(refused, "BODY_S", 0.01)

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(WRONG, status="401 Unauthorized")[:-5])
            ours(await client.response())
            assert await provider.closed()

            slow = answer(b'{"type":"error","error":{"type":"invalid_request_error"}}', status="400 Bad Request")
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(slow[:-5])
            await client.until(b'"invalid_request_')
            await provider.send(slow[-5:])
            assert await client.until(b'"}}') == b'error"}}'

    play(scene())


def test_a_client_that_leaves_meanwhile_stops_the_provider():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(WRONG, status="401 Unauthorized")[:-5])
            client.close()
            assert await provider.closed()
            assert (await stage.settled()).outcome == "client_gone"

    play(scene())


def test_a_key_that_is_revoked_meanwhile_hears_that():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(WRONG, status="403 Forbidden")[:-5])
            stage.configuration.stop("vk_1")
            response = await client.response()
            assert (response.status, error_of(response)["code"]) == (401, "virtual_key_revoked")
            assert await provider.closed()

    play(scene())


# ---- what passes ----

PASSES = {
    "model": ("403 Forbidden", b'{"error":{"type":"permission_error","message":"no access to model claude-opus-5"}}'),
    "region": ("403 Forbidden", b'{"error":{"type":"forbidden","message":"Request not allowed"}}'),
    "moderated": ("400 Bad Request", b'{"error":{"type":"invalid_request_error","message":"Output blocked"}}'),
    "unknown": ("403 Forbidden", b'<html>"no"\xff</html>'),
    "limit": ("429 Too Many Requests", b'{"error":{"type":"rate_limit_error","message":"slow down"}}'),
    "large": ("400 Bad Request", random.Random(1).randbytes(900_000)),
    "empty": ("403 Forbidden", b""),
}


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_not_about_the_account_passes_byte_for_byte(name: str, chunked: bool):
    status, body = PASSES[name]
    reply = answer(body, status=status, extra="x-should-retry: true\r\nretry-after: 7\r\nrequest-id: theirs_1\r\n")
    if chunked:
        head = f"HTTP/1.1 {status}\r\nx-should-retry: true\r\nretry-after: 7\r\nrequest-id: theirs_1\r\n"
        pieces = b"".join(chunk(body[at : at + 9_000]) for at in range(0, len(body), 9_000))
        reply = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + pieces + b"0\r\n\r\n"

    async def scene() -> None:
        async with Stage() as stage:
            response, record = await said(stage, post("/v1/messages", MESSAGE), reply)
            assert (response.status, response.body, response.complete) == (int(status[:3]), body, True)
            shown = {name: response.headers[name] for name in ("x-should-retry", "retry-after", "request-id")}
            assert shown == {"x-should-retry": "true", "retry-after": "7", "request-id": "theirs_1"}
            assert (record.outcome, record.refusal_code, record.provider_error) == ("provider_error", "", "")
            assert (record.http_status, record.cost_nano) == (int(status[:3]), 0)

    play(scene())


# ---- inside a stream ----

REFUSES = event(
    "error", '{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key sk-ant-api03-pro"}}'
)
OVERLOADED = event("error", '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')


def test_a_stream_that_begins_with_it_is_an_http_error_where_nothing_has_left():
    async def scene() -> None:
        async with Stage() as stage:
            reply = STREAM_HEAD + chunk(REFUSES) + b"0\r\n\r\n"
            response, record = await said(stage, post("/v1/messages", STREAMED_MESSAGE), reply)
            ours(response)
            assert b"sk-ant" not in response.body
            assert (record.outcome, record.refusal_code) == ("provider_error", "provider_credential_refused")
            assert (record.cost_nano, record.http_status) == (0, 502)
            assert record.provider_error == "invalid x-api-key [redacted]"

    play(scene())


@pytest.mark.parametrize("cut", range(0, len(REFUSES), 3))
def test_a_stream_that_has_begun_ends_in_our_words_and_the_dialects_form(cut: int):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", STREAMED_MESSAGE))
            await provider.send(STREAM_HEAD + chunk(EVENTS[0]))
            await client.until(EVENTS[0])
            if cut:
                await provider.send(chunk(REFUSES[:cut]))
                await provider.send(chunk(REFUSES[cut:]))
            else:
                await provider.send(chunk(REFUSES))
            rest = await client.until(b"0\r\n\r\n")
            assert rest.count(b"event: error") == 1
            assert (WORDS % "anthropic").encode() in rest
            assert b"x-api-key" not in rest
            assert await provider.closed()
            record = await stage.settled()
            assert (record.outcome, record.refusal_code) == ("provider_error", "provider_credential_refused")
            assert (record.cost_nano, record.usage.units) == (0, {})

    play(scene())


def test_codex_reads_a_failure_that_it_takes_as_final():
    created = event("response.created", '{"type":"response.created","response":{"id":"resp_1","error":null}}')
    spent = event("error", '{"type":"error","error":{"type":"insufficient_quota","code":"insufficient_quota"}}')
    raw = post("/v1/responses", RESPONSES[:-1] + b',"stream":true}', headers=CODEX)

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, raw)
            await provider.send(STREAM_HEAD + chunk(created))
            await client.until(created)
            await provider.send(chunk(spent))
            rest = await client.until(b"0\r\n\r\n")
            assert b'"code":"invalid_prompt"' in rest
            assert b"was refused, since its account cannot pay" in rest
            assert b"insufficient_quota" not in rest

    play(scene())


@pytest.mark.parametrize(
    "events",
    [
        [EVENTS[0], OVERLOADED],
        [OVERLOADED],
        [*EVENTS[:3], REFUSES],  # after content it is the provider's to say
        [*EVENTS[:2], event("ping", "{}"), event("ping", "{}"), event("ping", "{}"), REFUSES],
        EVENTS,
    ],
    ids=["overloaded", "overloaded at once", "behind content", "behind many events", "whole"],
)
@pytest.mark.parametrize("step", [0, 1, 11])
def test_every_other_stream_passes_byte_for_byte(events: list[bytes], step: int):
    body = b"".join(events)
    wire = chunk(body) if not step else b"".join(chunk(body[at : at + step]) for at in range(0, len(body), step))

    async def scene() -> None:
        async with Stage() as stage:
            reply = STREAM_HEAD + wire + b"0\r\n\r\n"
            response, record = await said(stage, post("/v1/messages", STREAMED_MESSAGE), reply)
            assert (response.status, response.body, response.complete) == (200, body, True)
            assert record.refusal_code == ""

    play(scene())


def test_money_that_was_held_is_free_again():
    async def scene() -> None:
        async with Stage(rows=(budget(),)) as stage:
            stage.holds.left.update(bud_1=DOLLAR)
            _, record = await said(stage, post("/v1/messages", MESSAGE), answer(WRONG, status="401 Unauthorized"))
            assert record.cost_nano == 0
            assert stage.holds.settled == [(record.request_id, 0)]

    play(scene())
