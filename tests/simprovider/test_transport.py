"""The simulator misbehaves exactly as told, and knows afterwards what it sent."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from tests.simprovider import SimClient, SimInThread
from tests.simprovider.asks import DIALECTS, ask
from tests.simprovider.script import from_headers, from_mapping, from_marker, markers


def post(http: httpx.Client, asked: tuple[str, dict[str, Any]], **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post(asked[0], json=asked[1], headers=named)


@pytest.mark.parametrize("chunk", ["1", "7", "all", ""])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_any_chunking_carries_the_bytes_that_were_recorded(
    http: httpx.Client, sim: SimInThread, dialect: str, chunk: str
) -> None:
    headers = {"x_sim_chunk": chunk} if chunk else {}
    answer = post(http, ask(dialect, "[[sim: say some words]]", stream=True), **headers)
    record = sim.requests()[-1]
    assert hashlib.sha256(answer.content).hexdigest() == record.sent_sha256
    assert record.ended == "complete"


def address(sim: SimInThread) -> tuple[str, int]:
    host, _, port = sim.url.removeprefix("http://").partition(":")
    return host, int(port)


def keep_all(pieces: Iterator[bytes], kept: bytearray) -> None:
    for piece in pieces:
        kept += piece


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_cut_stream_ends_before_its_end(http: httpx.Client, sim: SimInThread, dialect: str, how: str) -> None:
    path, body = ask(dialect, stream=True)
    received = bytearray()
    with http.stream("POST", path, json=body, headers={"x-sim-cut": how, "x-sim-cut-at": "3"}) as answer:
        pieces = answer.iter_raw()
        with pytest.raises(httpx.TransportError):
            keep_all(pieces, received)
    record = sim.requests()[-1]
    assert (record.ended, record.events_sent, record.usage_sent) == ("cut", 3, False)
    assert bytes(record.sent).startswith(bytes(received))


def test_a_truncated_stream_ends_by_the_rules_without_its_last_events(http: httpx.Client, sim: SimInThread) -> None:
    raw = post(http, ask("anthropic_messages", stream=True), x_sim_truncate_at="4").text
    assert "message_stop" not in raw
    assert sim.requests()[-1].ended == "truncated"


def test_held_answers_wait_for_their_release(sim: SimInThread) -> None:
    path, body = ask("openai_chat", "[[sim: hold=gate]]")
    with socket.create_connection(address(sim)) as raw, SimClient(sim.url) as control:
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer a\r\ncontent-length: {len(content)}\r\n\r\n"
        raw.sendall(head.encode() + content)
        assert control.wait(held="gate")
        raw.settimeout(0.05)
        with pytest.raises(TimeoutError):
            raw.recv(1)
        control.release("gate")
        raw.settimeout(60)
        assert raw.recv(15) == b"HTTP/1.1 200 OK"


def test_a_client_that_leaves_is_noticed(sim: SimInThread) -> None:
    path, body = ask("openai_chat", "[[sim: events=1000 hold=never hold_at=5]]", stream=True)
    headers = {"authorization": "Bearer a"}
    with (
        httpx.Client(base_url=sim.url, headers=headers, trust_env=False) as client,
        client.stream("POST", path, json=body) as answer,
    ):
        next(answer.iter_raw())
    assert sim.until(lambda simulator: simulator.finished == 1)
    assert sim.requests()[-1].ended == "client_gone"


@pytest.mark.parametrize(("declared", "ended"), [(10, httpx.RemoteProtocolError), (-10, None)])
def test_a_wrong_content_length_is_sent_as_told(
    http: httpx.Client, declared: int, ended: type[Exception] | None
) -> None:
    if ended:
        with pytest.raises(ended):
            post(http, ask("openai_chat"), x_sim_content_length=str(declared))
    else:
        assert not post(http, ask("openai_chat"), x_sim_content_length=str(declared)).text.endswith("}")


def test_garbage_follows_the_end(sim: SimInThread) -> None:
    path, body = ask("openai_chat")
    content = json.dumps(body).encode()
    with socket.create_connection(address(sim)) as raw:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer a\r\ncontent-length: {len(content)}\r\n"
        raw.sendall(f"{head}x-sim-garbage: HTTP/1.1 999 Surprise\r\nx-sim-close: true\r\n\r\n".encode() + content)
        received = b""
        while piece := raw.recv(65_536):
            received += piece
    assert received.endswith(b"}HTTP/1.1 999 Surprise")


def test_gzip_is_applied_whatever_the_client_accepts(http: httpx.Client, sim: SimInThread) -> None:
    path, body = ask("anthropic_messages", stream=True)
    with http.stream(
        "POST", path, json=body, headers={"accept-encoding": "identity", "x-sim-encoding": "gzip"}
    ) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert b"message_stop" in gzip.decompress(raw)
    assert hashlib.sha256(raw).hexdigest() == sim.requests()[-1].sent_sha256


def test_a_very_long_stream_begins_at_once_and_is_made_as_it_is_read(http: httpx.Client) -> None:
    path, body = ask("openai_responses", "[[sim: events=1000000 interval_ms=1]]", stream=True)
    with http.stream("POST", path, json=body) as answer:
        assert b"response.created" in next(answer.iter_raw())


def test_huge_answers_are_as_huge_as_told(http: httpx.Client) -> None:
    answer = post(http, ask("openai_chat", "[[sim: text_bytes=3000000]]"))
    assert len(answer.json()["choices"][0]["message"]["content"]) == 3_000_000


def test_what_was_sent_is_echoed_but_the_credential_only_in_headers(http: httpx.Client) -> None:
    answer = post(http, ask("openai_chat"), authorization="Bearer sk-secret", x_sim_echo="headers", x_thing="a")
    assert answer.headers["x-echo-authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in answer.text
    said = json.loads(answer.json()["choices"][0]["message"]["content"])
    assert ["x-thing", "a"] in said["headers"]


def test_queued_scripts_go_to_the_requests_they_match(http: httpx.Client, sim: SimInThread) -> None:
    with SimClient(sim.url) as control:
        control.script(text="second", match={"model": "gpt-4o"}, skip=1)
        control.script(error="server", match={"operation": "responses"}, times=2)
        statuses = [post(http, ask("openai_responses")).status_code for _ in range(3)]
        texts = [post(http, ask("openai_chat")).json()["choices"][0]["message"]["content"] for _ in range(3)]
        assert statuses == [500, 500, 200]
        assert [text == "second" for text in texts] == [False, True, False]
        with pytest.raises(ValueError, match="no_such_field"):
            control.script(no_such_field=1)


def test_records_can_be_read_over_http(http: httpx.Client, sim: SimInThread) -> None:
    path, body = ask("anthropic_messages")
    answer = http.post(path, json=body)
    with SimClient(sim.url) as control:
        assert control.wait(finished=1)
        [record] = control.requests()
        sent = control.body(record["number"])
        assert json.loads(sent) == body
        assert record["body_sha256"] == hashlib.sha256(sent).hexdigest()
        assert control.response(record["number"]) == answer.content
        assert record["request_id"] == answer.headers["request-id"]
        control.reset()
        assert control.requests() == []


@pytest.mark.parametrize("where", ["header", "body", "target"])
def test_a_virtual_key_that_arrives_is_never_overlooked(http: httpx.Client, sim: SimInThread, where: str) -> None:
    key = "lw_vk_live_0123456789"
    path, body = ask("openai_chat", key if where == "body" else "Hello")
    http.post(
        path + (f"?k={key}" if where == "target" else ""), json=body, headers={"x-k": key} if where == "header" else {}
    )
    assert sim.totals()["virtual_keys_seen"] == 1


def test_compressed_requests_are_read(http: httpx.Client) -> None:
    path, body = ask("openai_chat", "[[sim: say read]]")
    content = gzip.compress(json.dumps(body).encode())
    answer = http.post(path, content=content, headers={"content-encoding": "gzip"})
    assert answer.json()["choices"][0]["message"]["content"] == "read"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_canned_answers_are_whole_answers(http: httpx.Client, sim: SimInThread, dialect: str, stream: bool) -> None:
    asked = ask(dialect, stream=stream)
    first, second = (post(http, asked, x_sim_canned="true", x_sim_events="20") for _ in range(2))
    assert first.content == second.content
    assert b"word19" in first.content
    assert [record.usage for record in sim.requests()] == [{"input": 1_000, "output": 100}] * 2


def test_scripts_are_said_in_headers_and_markers_alike() -> None:
    expected = from_mapping({"error": "overloaded", "error_at": 3, "retry_after": 2})
    inside = markers("Do [[sim: error=overloaded error_at=3 retry_after=2]] please, not [[sim: this")
    assert from_mapping(from_marker(inside[0])) == expected
    headers = [("X-Sim-Error", "overloaded"), ("x-sim-error-at", "3"), ("x-sim-retry-after", "2"), ("x-other", "1")]
    assert from_mapping(from_headers(headers)) == expected
    assert (
        from_mapping(from_headers([("x-sim-script", '{"error":"overloaded","error_at":3,"retry_after":2}')]))
        == expected
    )
    with pytest.raises(msgspec.ValidationError):
        from_mapping({"error_at": "soon"})


def test_as_a_process_it_says_where_it_listens_and_ends_when_told() -> None:
    process = subprocess.Popen([sys.executable, "-m", "tests.simprovider"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    try:
        assert httpx.get(said["url"] + "/_sim/health", trust_env=False, timeout=60).json()["status"] == "ok"
    finally:
        process.terminate()
    assert process.wait(60) == 0
