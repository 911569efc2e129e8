from __future__ import annotations

import json

import msgspec
import pytest

from dataplane.dialects.clients import OTHER, detect, session_of_user_id
from dataplane.telemetry.metrics import CLIENTS
from tests.dialects.metering import FACTS

AGENTS = [
    (b"claude-cli/2.1.330 (external, sdk-cli)", "claude_code", "2.1.330"),
    (b"claude-code/2.1.330", "claude_code", "2.1.330"),
    (b"codex_exec/0.169.0 (Debian 12.0.0; x86_64) dumb (codex_exec; 0.169.0)", "codex", "0.169.0"),
    (b"codex-tui/0.122.0", "codex", "0.122.0"),
    (b"GeminiCLI-tui/0.61.0/gemini-2.5-pro (linux; x64; terminal)", "gemini_cli", "0.61.0"),
    (b"CloudCodeVSCode/1.2 (aarch64) proxy_client=geminicli", "gemini_cli", ""),
    (b"opencode/1.18.33 ai-sdk/provider-utils/4.0.1 runtime/bun/1.3.14", "opencode", "1.18.33"),
    (b"QwenCode/0.24.4 (linux; x64)", "qwen_code", "0.24.4"),
    (b"OpenAI/Python 2.20.0", "openai_python", "2.20.0"),
    (b"AsyncOpenAI/Python 2.20.0", "openai_python", "2.20.0"),
    (b"OpenAI/JS 5.23.2", "openai_js", "5.23.2"),
    (b"ls/JS 5.23.2", "continue", "5.23.2"),
    (b"ai-sdk/openai-compatible/3.0.37 ai-sdk/provider-utils/4.0 runtime/bun/1.3.13", "ai_sdk", "3.0.37"),
    (b"litellm/1.81.10", "litellm", "1.81.10"),
    (b"curl/8.5.0", "other", ""),
    (b"\xff\xfe", "other", ""),
    (b"", "other", ""),
]


def test_every_client_that_figures_are_kept_of_is_told_by_what_it_sends():
    """By its own headers (AGENTS), or by the route that only Cursor is given."""
    told = {name for _, name, _ in AGENTS} | {detect({b"user-agent": b"Go-http-client/2.0"}, prefix="/cursor").name}
    assert told == {*CLIENTS, OTHER}


@pytest.mark.parametrize(("agent", "name", "version"), AGENTS)
def test_clients_are_told_by_their_user_agent(agent, name, version):
    client = detect({b"user-agent": agent})
    assert (client.name, client.version) == (name, version)


def test_other_headers_tell_a_client_whose_user_agent_does_not():
    assert detect({b"originator": b"codex_vscode"}).name == "codex"
    assert detect({b"x-app": b"cli"}).name == "claude_code"
    assert detect({b"user-agent": b"Bun/1.4.4"}).name == "other"


def test_the_cursor_prefix_names_cursor_unless_the_client_names_itself():
    assert detect({b"user-agent": b"Go-http-client/2.0"}, prefix="/cursor").name == "cursor"
    assert detect({b"user-agent": b"OpenAI/JS 5.0"}, prefix="/cursor").name == "cursor"
    assert detect({b"user-agent": b"opencode/1.18.33"}, prefix="/cursor").name == "opencode"
    assert detect({b"user-agent": b"Go-http-client/2.0"}).name == "other"


def test_the_first_session_id_that_is_present_counts():
    headers = {
        b"x-claude-code-session-id": b"a", b"session-id": b"b", b"session_id": b"c", b"x-session-id": b"d",
        b"x-session-affinity": b"e", b"x-langwatch-session-id": b"g",
    }  # fmt: skip
    facts = msgspec.structs.replace(FACTS, session="f")
    found = []
    for header in (*list(headers)[:5], None, b"x-langwatch-session-id"):
        found.append(detect(headers, facts).session)
        if header is None:
            facts = FACTS
        else:
            headers.pop(header)
    assert found == ["a", "b", "c", "d", "e", "f", "g"]


@pytest.mark.parametrize("value", [b"", b"  ", b"a b", b"\xff", b"x" * 300, b"a\x01b"])
def test_an_unusable_session_id_is_none(value):
    assert detect({b"session-id": value}).session == ""


@pytest.mark.parametrize(
    ("user_id", "session"),
    [
        (json.dumps({"device_id": "0" * 64, "account_uuid": "", "session_id": "0b1c-2d"}), "0b1c-2d"),
        ("user_" + "0" * 64 + "_account__session_0b1c-2d", "0b1c-2d"),
        ("user_0_account_9f_session_0b1c-2d", "0b1c-2d"),
        ("somebody", ""),
        ("{broken", ""),
        ('{"session_id":7}', ""),
        ('{"session_id":"' + "x" * 300 + '"}', ""),
        (None, ""),
        (7, ""),
        ("x" * 5_000, ""),
    ],
)
def test_the_session_is_read_out_of_both_forms_of_the_user_id(user_id, session):
    assert session_of_user_id(user_id) == session
