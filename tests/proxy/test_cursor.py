"""Cursor's Agent mode is refused in words that Cursor shows, under whichever base URL; its other modes pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.cursor import agent_mode, ask_mode
from tests.proxy.stage import Stage, answer, play, post

BASES = ["/cursor/v1", "/v1", "/openai/v1", "/cursor"]
# Cursor's servers are not known to name themselves.
CURSOR = {"Content-Type": "application/json", "User-Agent": "Go-http-client/2.0"}


def body(said: dict[str, Any]) -> bytes:
    return json.dumps(said).encode()


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("model", ["gpt-5.5", "claude-sonnet-4-5"])
def test_agent_mode_is_told_what_is_not_served_and_what_works(base: str, model: str):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post(f"{base}/chat/completions", body(agent_mode(model, "Hello")), headers=CURSOR))
            response = await client.response()
            error = json.loads(response.body)["error"]
            assert response.status == 400
            assert response.headers["x-should-retry"] == "false"
            assert (error["type"], error["code"]) == ("invalid_request_error", "bad_request")
            assert error["message"].startswith("Cursor's Agent mode is not served")
            assert error["message"].endswith("Ask mode and plain chat work")
            assert stage.nobody_called()
            assert (await stage.settled()).client == "cursor"

    play(scene())


@pytest.mark.parametrize("base", BASES)
def test_ask_mode_goes_to_the_provider(base: str):
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            asked = body(ask_mode("gpt-4o", "Hello"))
            await client.send(post(f"{base}/chat/completions", asked, headers=CURSOR))
            provider = await stage.provider()
            _, _, got = await provider.request()
            assert got == asked
            await provider.send(answer(b"{}"))
            assert (await client.response()).status == 200
            assert (await stage.settled()).client == ("cursor" if base.startswith("/cursor") else "other")

    play(scene())


def test_a_program_that_mixes_up_the_routes_is_not_taken_for_cursor():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            headers = {"User-Agent": "OpenAI/Python 2.20.0"}
            await client.send(post("/v1/chat/completions", b'{"model":"gpt-5.5","input":"hi"}', headers=headers))
            response = await client.response()
            assert response.status == 400
            assert "send it to /v1/responses" in json.loads(response.body)["error"]["message"]
            assert (await stage.settled()).client == "openai_python"

    play(scene())
