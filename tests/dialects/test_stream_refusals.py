"""Our words after the first byte: legal in the middle of anything, ending every client, never a silent end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.dialect import Client, Dialect, Meter, Operation
from dataplane.dialects.registry import ANTHROPIC, CHAT, GEMINI, RESPONSES
from dataplane.dialects.sse import SseSplitter
from tests.dialects import streams
from tests.dialects.metering import FACTS

REVOKED = Refusal(Code.VIRTUAL_KEY_REVOKED, "This key was revoked.")
BROKEN = Refusal(Code.PROVIDER_ERROR, "The provider broke off.")
CODEX = Client("codex", "0.169.0", "")
CLAUDE = Client("claude_code", "2.1.330", "")
OPENCODE = Client("opencode", "1.18.33", "")
GEMINI_CLI = Client("gemini_cli", "0.61.0", "")
OTHER = Client("other", "", "")

OPERATIONS = {
    ANTHROPIC: Operation.MESSAGES,
    RESPONSES: Operation.RESPONSES,
    CHAT: Operation.CHAT,
    GEMINI: Operation.STREAM_GENERATE_CONTENT,
}
WHOLE = {
    ANTHROPIC: streams.ANTHROPIC, RESPONSES: streams.RESPONSES, CHAT: streams.CHAT, GEMINI: streams.GEMINI_SSE,
}  # fmt: skip


def after(dialect: Dialect, sent: bytes, *, streaming: bool = True) -> Meter:
    meter = dialect.meter(OPERATIONS[dialect], streaming=streaming, facts=FACTS)
    meter.feed(sent)
    return meter


def words(dialect: Dialect, sent: bytes, refusal: Refusal, client: Client) -> bytes:
    return dialect.ending(refusal, client, "req_1", after(dialect, sent).sent_so_far())


def events(text: bytes) -> list[Any]:
    splitter = SseSplitter()
    return [each if each == b"[DONE]" else json.loads(each) for each in splitter.feed(text)]


def test_anthropic_gets_an_error_event_also_while_a_block_is_open():
    sent = streams.named([streams.ANTHROPIC_START, *streams.ANTHROPIC_CONTENT[:2]])
    said = words(ANTHROPIC, sent, REVOKED, CLAUDE)
    assert said.startswith(b"event: error\ndata: ")
    [event] = events(said)
    assert event["type"] == "error"
    assert event["error"] == {
        "type": "authentication_error", "message": "This key was revoked.", "code": "virtual_key_revoked",
    }  # fmt: skip
    [event] = events(words(ANTHROPIC, sent, BROKEN, CLAUDE))
    assert event["error"]["type"] == "api_error"


def test_codex_gets_a_failure_that_it_takes_as_final():
    sent = streams.named(streams.RESPONSES_OPENING)
    [event] = events(words(RESPONSES, sent, REVOKED, CODEX))
    assert event["type"] == "response.failed"
    assert event["sequence_number"] == len(streams.RESPONSES_OPENING)
    assert event["response"]["id"] == "resp_1"
    assert event["response"]["status"] == "failed"
    assert event["response"]["error"]["code"] == "invalid_prompt"
    assert event["response"]["error"]["reason"] == "virtual_key_revoked"
    assert event["response"]["error"]["message"] == "This key was revoked."


def test_codex_may_retry_when_the_provider_broke_off():
    [event] = events(words(RESPONSES, streams.named(streams.RESPONSES_OPENING), BROKEN, CODEX))
    assert event["response"]["error"]["code"] == "provider_error"


def test_other_responses_clients_get_an_error_first():
    said = words(RESPONSES, b"", REVOKED, OPENCODE)
    error, failed = events(said)
    assert said.startswith(b"event: error\n")
    assert error["message"] == "This key was revoked."
    assert error["error"]["code"] == error["code"] == "virtual_key_revoked"
    assert failed["type"] == "response.failed"
    assert failed["sequence_number"] == error["sequence_number"] + 1


def test_a_chat_client_is_shown_final_words_as_text_with_a_regular_end():
    sent = streams.bare([streams.chunk({"role": "assistant", "content": "Hel"})])
    text, end, done = events(words(CHAT, sent, REVOKED, OPENCODE))
    assert text["id"] == end["id"] == "chatcmpl-1"
    assert text["created"] == 1_790_000_000
    assert text["model"] == "gpt-4o-2024-11-20"
    assert text["choices"][0]["delta"]["content"] == "\n\nThis key was revoked."
    assert end["choices"][0]["finish_reason"] == "stop"
    assert done == b"[DONE]"


def test_a_chat_client_with_a_tool_call_under_way_gets_an_error_so_that_the_call_does_not_run():
    error, end, done = events(words(CHAT, streams.bare(streams.CHAT_OPENING), REVOKED, OPENCODE))
    assert error["error"]["type"] == "invalid_request_error"
    assert error["error"]["code"] == "virtual_key_revoked"
    assert end["choices"][0]["finish_reason"] == "stop"
    assert done == b"[DONE]"


def test_a_chat_client_learns_that_the_provider_broke_off():
    error, _, done = events(words(CHAT, streams.bare([streams.chunk({"content": "a"})]), BROKEN, OPENCODE))
    assert error["error"]["type"] == "provider_error"
    assert done == b"[DONE]"


def test_a_chat_stream_that_said_its_finish_reason_only_lacks_its_end():
    sent = streams.bare([*streams.CHAT_OPENING, streams.chunk({}, "tool_calls")])
    assert words(CHAT, sent, REVOKED, OPENCODE) == b"data: [DONE]\n\n"


def test_gemini_cli_gets_a_bare_error_object():
    said = words(GEMINI, streams.bare([*streams.GEMINI_CHUNKS[:1]]), REVOKED, GEMINI_CLI)
    error = json.loads(said)["error"]
    assert (error["code"], error["status"]) == (401, "UNAUTHENTICATED")
    assert error["message"] == "This key was revoked."


def test_opencode_gets_words_and_a_regular_end_from_gemini():
    [chunk] = events(words(GEMINI, streams.bare([*streams.GEMINI_CHUNKS[:1]]), REVOKED, OPENCODE))
    [candidate] = chunk["candidates"]
    assert candidate["finishReason"] == "STOP"
    assert candidate["content"]["parts"][0]["text"].endswith("This key was revoked.")


@pytest.mark.parametrize("sent", [b"", b'[{"candidates":[]}'])
def test_a_gemini_array_ends_as_an_array(sent):
    meter = after(GEMINI, sent, streaming=False)
    said = GEMINI.ending(REVOKED, OTHER, "req_1", meter.sent_so_far())
    assert json.loads(sent + said)[-1]["error"]["code"] == 401


@pytest.mark.parametrize("dialect", WHOLE, ids=lambda dialect: dialect.name)
def test_a_complete_stream_gets_nothing_more(dialect):
    assert words(dialect, WHOLE[dialect], REVOKED, OTHER) == b""


@pytest.mark.parametrize("dialect", WHOLE, ids=lambda dialect: dialect.name)
def test_nothing_is_put_into_a_plain_answer(dialect):
    meter = dialect.meter(OPERATIONS[dialect], streaming=False, facts=FACTS)
    if dialect is GEMINI:
        meter = dialect.meter(Operation.GENERATE_CONTENT, streaming=False, facts=FACTS)
    meter.feed(b'{"half":')
    assert dialect.ending(REVOKED, OTHER, "req_1", meter.sent_so_far()) == b""


@pytest.mark.parametrize("client", [CODEX, CLAUDE, OPENCODE, GEMINI_CLI, OTHER], ids=lambda client: client.name)
@pytest.mark.parametrize("refusal", [REVOKED, BROKEN], ids=lambda refusal: refusal.code)
@pytest.mark.parametrize("dialect", WHOLE, ids=lambda dialect: dialect.name)
def test_at_every_byte_of_a_stream_the_words_arrive_as_events_of_their_own(dialect, refusal, client):
    whole = WHOLE[dialect]
    for at in range(0, len(whole), 7):
        sent = whole[:at]
        meter = after(dialect, sent)
        said = dialect.ending(refusal, client, "req_1", meter.sent_so_far())
        if not said:
            assert meter.complete
            continue
        assert b"server_error" not in said
        assert refusal.message.encode() in said or said.endswith(b"data: [DONE]\n\n")
        if said.lstrip().startswith(b"{"):
            assert json.loads(said)["error"]["message"] == refusal.message
            continue
        splitter = SseSplitter()
        before = len(splitter.feed(sent))
        half = meter.mid_event and any(line.startswith(b"data") for line in _open_lines(sent))
        own = splitter.feed(said)[1 if half else 0 :]
        assert not splitter.mid_event
        assert [json.loads(each) for each in own if each != b"[DONE]"] or own == [b"[DONE]"]
        assert before == meter.events


def _open_lines(sent: bytes) -> list[bytes]:
    return sent.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rpartition(b"\n\n")[2].split(b"\n")
