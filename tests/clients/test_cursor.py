"""Cursor's reported shapes are answered in the shape that it needs, through whatever the tests point at."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.clients.cursor import PATCH, agent_mode, ask_mode
from tests.clients.gateway import Target

pytestmark = pytest.mark.clients

PROMPT = f"Please [[sim: tool ApplyPatch {PATCH}]]"


def chunks(gateway: Target, path: str, body: dict[str, Any]) -> tuple[list[dict[str, Any]], httpx.Response]:
    key = gateway.key()
    headers = {"authorization": f"Bearer {key.token}"}
    answer = httpx.post(gateway.url + path, json=body, headers=headers, trust_env=False, timeout=60)
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"], answer


def called(found: list[dict[str, Any]]) -> tuple[str, str]:
    """Name and arguments of the one tool call in chat chunks."""
    functions = [
        call["function"]
        for chunk in found
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", [])
    ]
    names = [function["name"] for function in functions if "name" in function]
    return "".join(names), "".join(function.get("arguments", "") for function in functions)


def test_ask_mode_gets_chunks_with_a_function_shaped_call(gateway: Target) -> None:
    found, answer = chunks(gateway, "/v1/chat/completions", ask_mode("gpt-4o", PROMPT))
    assert answer.status_code == 200, answer.text
    assert {chunk["object"] for chunk in found} == {"chat.completion.chunk"}
    assert called(found) == ("ApplyPatch", PATCH.strip()), "Cursor needs function.name and the raw patch"
    assert found[-1]["usage"]["total_tokens"] > 0
    assert answer.text.endswith("data: [DONE]\n\n")


def test_ask_mode_arrives_byte_for_byte(gateway: Target) -> None:
    key = gateway.key()
    content = json.dumps(ask_mode("gpt-4o", "Hello"), indent=1).encode()
    headers = {"authorization": f"Bearer {key.token}", "content-type": "application/json"}
    url = gateway.url + "/v1/chat/completions"
    assert httpx.post(url, content=content, headers=headers, trust_env=False, timeout=60).status_code == 200
    [record] = gateway.simprovider.requests(path="/chat/completions")
    assert gateway.simprovider.body(record["number"]) == content


def test_agent_mode_gets_chat_chunks_from_a_provider_that_takes_it(gateway: Target) -> None:
    if not gateway.direct:
        pytest.skip("needs the translation between dialects")
    found, answer = chunks(gateway, "/cursor/v1/chat/completions", agent_mode("gpt-5.5", PROMPT))
    assert answer.status_code == 200, answer.text
    assert {chunk["object"] for chunk in found} == {"chat.completion.chunk"}
    assert called(found) == ("ApplyPatch", PATCH.strip())


def test_a_plain_chat_provider_refuses_agent_mode_in_its_own_words(gateway: Target) -> None:
    if not gateway.direct:
        pytest.skip("what the gateway says to this shape is tested with its dialects")
    _, answer = chunks(gateway, "/v1/chat/completions", agent_mode("gpt-5.5", "Hello"))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages"
