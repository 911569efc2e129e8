"""What never became a request is refused in the shape that its sender understands."""

from __future__ import annotations

import json

import pytest

from dataplane.proxy.http import http2
from tests.proxy.stage import MESSAGE, Stage, play, post

ENVELOPES = {
    "/v1/messages": lambda error: error["type"] == "error" and error["error"]["type"] == "invalid_request_error",
    "/anthropic/v1/messages?beta=true": lambda error: error["type"] == "error",
    "/v1/responses": lambda error: error["error"]["code"] == "bad_request" and "type" not in error,
    "/v1/chat/completions": lambda error: error["error"]["code"] == "bad_request" and "type" not in error,
    "/v1beta/models/gemini-3:generateContent": lambda error: error["error"]["status"] == "INVALID_ARGUMENT",
    "/nowhere": lambda error: error["error"]["code"] == "bad_request",
}


@pytest.mark.parametrize("path", ENVELOPES)
@pytest.mark.parametrize(
    ("field", "status"),
    [
        pytest.param(b"Cookie: " + b"x" * 70_000, 431, id="a head beyond the limit"),
        pytest.param(b"\r\n".join([b"X-A: 1"] * 200), 431, id="many fields"),
        pytest.param(b"X A: 1", 400, id="malformed"),
    ],
)
@pytest.mark.parametrize("step", [0, 9_000])
def test_a_head_that_is_refused_is_refused_in_the_dialect_of_its_path(path: str, field: bytes, status: int, step: int):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            raw = post(path, MESSAGE).replace(b"Host: gateway.test", b"Host: gateway.test\r\n" + field)
            await client.send(raw, step)
            refused = await client.response()
            assert refused.status == status
            assert ENVELOPES[path](json.loads(refused.body))

    play(scene())


def test_a_head_that_never_ends_is_refused_in_its_dialect_too():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\n")
            await stage.eventually(lambda: all(each._heads for each in stage.pod.connections))
            stage.time_passes(11)
            refused = await client.response()
            assert (refused.status, json.loads(refused.body)["type"]) == (408, "error")

    play(scene())


@pytest.mark.parametrize("step", [0, 1])
def test_who_begins_with_http2_is_told_so_in_its_own_frames(step: int):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(http2.PREFACE + b"SM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0", step)
            said = await client.rest()
            settings, goaway = said[:9], said[9:]
            assert settings == b"\0\0\0\x04\0\0\0\0\0"
            length = int.from_bytes(goaway[:3], "big")
            assert goaway[3:9] == b"\x07\0\0\0\0\0"
            assert len(goaway) == 9 + length
            assert int.from_bytes(goaway[13:17], "big") == 0xD  # HTTP_1_1_REQUIRED
            assert b"HTTP/1.1" in goaway[17:]

    play(scene())
