"""Nothing secret leaves its place: not ours to a provider, not a provider's to a client, neither to a record."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from urllib.parse import quote

import pytest

from dataplane.core.usage import UsageRecord
from dataplane.providers.echo import Echo
from tests.proxy.stage import CREDENTIALS, MESSAGE, TOKEN, Response, Stage, answer, chunk, event, get, play, post
from tests.proxy.test_compressed import CODINGS

REQUESTS = {
    "anthropic": ("/v1/messages", MESSAGE),
    "openai": ("/v1/chat/completions", b'{"model":"gpt-4.1","messages":[]}'),
    "gemini": ("/v1beta/models/gemini-2.5-pro:generateContent", b'{"contents":[]}'),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("status", ["200 OK", "302 Found", "401 Unauthorized", "500 Oops"])
def test_a_provider_that_echoes_all_headers_leaks_none_of_its_own_credential(name: str, status: str):
    path, body = REQUESTS[name]

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post(path, body, headers={"x-api-key": TOKEN}))
            provider = await stage.provider()
            line, headers, _ = await provider.request()
            assert TOKEN not in line.decode() + repr(headers)
            assert CREDENTIALS[name] in repr(headers)
            echo = "".join(
                f"{prefix}{key}: {value}\r\n"
                for prefix in ("", "x-echo-", "anthropic-", "openai-", "x-ms-")
                for key, value in headers.items()
                if key not in ("content-length", "host")
            )
            echo += (
                f"Location: http://elsewhere.test/?key={CREDENTIALS[name]}\r\nset-cookie: key={CREDENTIALS[name]}\r\n"
            )
            await provider.send(
                f"HTTP/1.1 {status}\r\n{echo}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode()
            )
            response = await client.response()
            everything = repr(response.headers) + repr(response.body)
            assert CREDENTIALS[name] not in everything
            assert TOKEN not in everything
            assert "location" not in response.headers
            record = await stage.settled()
            assert TOKEN not in repr(record) + repr(stage.journal.admitted)
            assert CREDENTIALS[name] not in repr(record)

    play(scene())


OWN = CREDENTIALS["anthropic"].encode()
ECHO = Echo(OWN)
STREAMED = MESSAGE[:-1] + b',"stream":true}'
LIMITED = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down, %s (?key=%s)"}}'
SPELT = {
    "plain": OWN,
    "in an address": "".join(f"%{byte:02x}" for byte in OWN).encode(),
    "as JSON": "".join(f"\\u{byte:04x}" for byte in OWN).encode(),
    "Basic": base64.b64encode(b"user:" + OWN),
    "Bearer": base64.b64encode(b"Bearer " + OWN),
}


def said(reply: Sequence[bytes], body: bytes = MESSAGE) -> tuple[Response, UsageRecord, list[str]]:
    """What a client and the ledger get of an answer of which the pod reads each piece by itself, and what was told."""

    async def scene() -> tuple[Response, UsageRecord, list[str]]:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", body))
            for piece in reply:
                await provider.send(piece)
                await stage.turns()
            if b"Connection: close" in reply[0]:
                provider.close()
            return await client.response(), await stage.settled(), stage.telemetry.echoes

    result: tuple[Response, UsageRecord, list[str]] = play(scene())
    return result


@pytest.mark.parametrize("spelling", SPELT)
@pytest.mark.parametrize("status", ["302 Found", "404 Not Found", "429 Too Many", "500 Oops", "529 Overloaded"])
def test_an_errors_body_leaves_without_the_credential_and_with_its_length(status: str, spelling: str):
    text = LIMITED % (SPELT[spelling], SPELT[spelling])
    for content_type in ("application/json", "text/html; charset=utf-8", "application/octet-stream"):
        response, record, echoes = said([answer(text, status=status, content_type=content_type)])
        assert response.status == int(status[:3])
        assert not ECHO.is_in(response.wire)
        assert b"[redacted]" in response.body
        assert response.headers["content-length"] == str(len(text))
        assert not ECHO.is_in(repr(record).encode())
        assert echoes == ["error"]


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_an_errors_body_that_comes_in_two_pieces_is_covered_wherever_it_is_cut(framing: str):
    text = LIMITED % (OWN, b"")
    head = b"HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\n"
    for at in range(text.index(OWN), text.index(OWN) + len(OWN), 7):
        pieces = [text[:at], text[at:]]
        reply = {
            "length": [head + b"Content-Length: %d\r\n\r\n" % len(text) + pieces[0], pieces[1]],
            "chunked": [head + b"Transfer-Encoding: chunked\r\n\r\n", *map(chunk, pieces), b"0\r\n\r\n"],
            "close": [head + b"Connection: close\r\n\r\n", *pieces],
        }[framing]
        response, _, _ = said(reply)
        assert response.body == ECHO.cover(text)
        assert OWN not in response.body


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_error_leaves_as_it_came_or_uncompressed_and_covered(coding: str):
    extra = f"Content-Encoding: {coding}\r\n"
    innocent = CODINGS[coding](LIMITED % (b"x", b"y"))
    response, _, echoes = said([answer(innocent, status="429 Many", extra=extra)])
    assert (response.body, echoes) == (innocent, [])
    assert response.headers["content-encoding"] == coding
    assert response.headers["content-length"] == str(len(innocent))

    text = LIMITED % (OWN, OWN)
    reply = answer(CODINGS[coding](text), status="429 Many", extra=extra)
    response, _, echoes = said([reply[:-9], reply[-9:]])
    assert (response.status, response.body, echoes) == (429, ECHO.cover(text), ["error"])
    assert "content-encoding" not in response.headers
    assert response.headers["content-length"] == str(len(text))
    assert OWN not in response.wire


@pytest.mark.parametrize(
    "fields",
    ["Content-Encoding: exi", "Content-Encoding: gzip, gzip", "Content-Encoding: identity\r\nContent-Encoding: x-y"],
)
@pytest.mark.parametrize("status", ["200 OK", "500 Oops"])
def test_an_error_that_cannot_be_looked_into_does_not_pass(status: str, fields: str):
    body = gzip.compress(gzip.compress(ERROR))
    response, _, _ = said(
        [answer(body, status=status, content_type="text/event-stream", extra=f"{fields}\r\n")], STREAMED
    )
    assert response.status == 502
    assert body not in response.wire


START = event("message_start", '{"type":"message_start","message":{"usage":{"input_tokens":3}}}')
REPEATS = event("content_block_delta", json.dumps({"type": "content_block_delta", "delta": {"text": OWN.decode()}}))
ERROR = event("error", LIMITED.decode() % (quote(OWN), base64.b64encode(b"u:" + OWN).decode()))
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("at", [len(ERROR), 5, 40, ERROR.index(b"slow") + 18])
def test_an_error_event_is_covered_and_content_passes_with_an_alarm(at: int):
    pieces = (START, START * 4, REPEATS, ERROR[:at], ERROR[at:])
    response, record, echoes = said([STREAM + b"\r\n", *map(chunk, pieces), b"0\r\n\r\n"], STREAMED)
    assert response.body == START * 5 + REPEATS + ECHO.cover(ERROR)
    assert response.body != START * 5 + REPEATS + ERROR
    assert not ECHO.is_in(repr(record).encode())
    assert echoes == ["content"]  # once for an answer


def test_a_compressed_stream_ends_before_an_error_that_would_have_to_be_covered():
    head = STREAM + b"Content-Encoding: gzip\r\n\r\n"
    response, record, echoes = said([head + chunk(gzip.compress(START + ERROR)) + b"0\r\n\r\n"], STREAMED)
    assert (response.status, record.outcome, echoes) == (502, "failed", ["error"])
    assert b"repeats its credential" in response.body

    packed = gzip.compress(START * 50) + gzip.compress(ERROR)
    response, record, _ = said([head + chunk(packed[:20]), chunk(packed[20:]) + b"0\r\n\r\n"], STREAMED)
    assert (response.body, response.complete, record.outcome) == (packed[:20], False, "failed")

    innocent = gzip.compress(START * 50 + REPEATS)
    response, _, echoes = said([head + chunk(innocent[:20]), chunk(innocent[20:]) + b"0\r\n\r\n"], STREAMED)
    assert (response.body, echoes) == (innocent, ["content"])
    assert response.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("spelling", SPELT)
def test_no_field_of_an_answer_holds_the_credential_in_any_spelling(spelling: str):
    spelt = SPELT[spelling].decode()
    response, record, _ = said([answer(b"{}", extra=f"request-id: {spelt}\r\nanthropic-note: see {spelt}!\r\n")])
    assert not ECHO.is_in(repr(response.headers).encode())
    assert not {"request-id", "anthropic-note"} & set(response.headers)
    assert OWN.decode() not in repr(record)


def test_a_record_holds_no_credential_that_its_provider_wrote_into_a_figure_or_a_name():
    own = OWN.decode()
    usage = {"input_tokens": 3, "output_tokens": 4, "note": own, "service_tier": own}
    body = json.dumps({"model": own, "content": [], "usage": usage}).encode()
    response, record, echoes = said([answer(body, extra=f"request-id: {own}\r\n")])
    assert response.body == body
    assert own not in repr(record)
    assert record.usage.units == {"input": 3, "output": 4}
    assert echoes == ["content"]


def test_no_header_of_a_client_chooses_where_its_request_goes():
    spoofs = {
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-For": "1.2.3.4",
        "Forwarded": "host=evil.test",
        "X-Original-Url": "/admin",
        "X-Langwatch-Base-Url": "http://evil.test",
        "x-portkey-custom-host": "http://evil.test",
        "Proxy-Authorization": "Basic x",
        "Via": "1.1 evil",
    }

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE, headers=spoofs).replace(b"gateway.test", b"evil.test"))
            provider = await stage.provider()
            line, headers, _ = await provider.request()
            assert headers["host"] == f"127.0.0.1:{stage.provider_port}"
            assert line == b"POST /v1/messages HTTP/1.1"
            assert not {"x-forwarded-host", "x-forwarded-for", "forwarded", "proxy-authorization", "via"} & set(headers)

    play(scene())


def test_hop_by_hop_headers_stop_here():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            hop = {
                "Connection": "keep-alive, X-Hop",
                "X-Hop": "1",
                "TE": "trailers",
                "Keep-Alive": "timeout=5",
                "Upgrade": "h2c",
            }
            await client.send(post("/v1/messages", MESSAGE, headers=hop))
            provider = await stage.provider()
            _, headers, _ = await provider.request()
            assert not {"connection", "x-hop", "te", "keep-alive", "upgrade", "transfer-encoding"} & set(headers)
            await provider.send(
                b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=1\r\nProxy-Authenticate: x\r\n"
                b"Content-Length: 2\r\n\r\n{}"
            )
            got = (await client.response()).headers
            assert not {"keep-alive", "proxy-authenticate"} & set(got)

    play(scene())


def test_redirects_are_not_followed():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(
                b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
            )
            response = await client.response()
            assert response.status == 307
            assert stage.nobody_called()

    play(scene())


def test_tenants_that_share_a_connection_see_nothing_of_each_other():
    from tests.proxy.stage import ANSWER, answer, mint, virtual_key

    tokens = [mint(seed)[0] for seed in range(10, 30)]
    keys = tuple(virtual_key(token, f"vk_{number}") for number, token in enumerate(tokens))

    async def scene() -> None:
        async with Stage(rows=keys) as stage:
            clients = [await stage.client() for _ in tokens]
            for number, (client, token) in enumerate(zip(clients, tokens, strict=True)):
                canary = f"canary-{number:04d}".encode()
                await client.send(post("/v1/messages", MESSAGE.replace(b"hello", canary), token=token))
            for _ in tokens:
                provider = await stage.provider()
                _, _, body = await provider.request()
                found = re.findall(rb"canary-\d{4}", body)
                assert len(found) == 1
                await provider.send(answer(ANSWER.replace(b"Hi", found[0])))
            for number, client in enumerate(clients):
                response = await client.response()
                assert re.findall(rb"canary-\d{4}", response.body) == [f"canary-{number:04d}".encode()]
            await stage.settled(len(tokens))
            assert {record.key_id for record in stage.telemetry.records} == {key.id for key in keys}

    play(scene())


def test_a_defect_of_ours_says_nothing_of_itself(capfd: pytest.CaptureFixture[str]):
    async def scene() -> None:
        async with Stage() as stage:

            def defect(record: object) -> None:
                raise RuntimeError(f"cannot write {CREDENTIALS['anthropic']}")

            stage.journal.admit = defect  # type: ignore[method-assign]
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE))
            response = await client.response()
            assert response.status == 500
            assert b"cannot write" not in response.body
            await client.send(get("/api/hello"))
            assert (await client.response()).status == 200
            assert [record.refusal_code for record in stage.telemetry.records] == ["internal_error", ""]

    play(scene())
