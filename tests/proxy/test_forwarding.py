"""What goes in comes out: requests and answers, byte for byte, with the credential exchanged."""

from __future__ import annotations

import pytest

from tests.proxy.stage import (
    ANSWER,
    EVENTS,
    MESSAGE,
    STREAM_HEAD,
    STREAMED_MESSAGE,
    Script,
    Stage,
    answer,
    chunk,
    play,
    post,
)


def test_a_message_goes_to_the_provider_and_its_answer_comes_back():
    stage = (
        Script()
        .client(post("/v1/messages?beta=true", MESSAGE))
        .upstream_expects(b"POST /v1/messages?beta=true HTTP/1.1", b"x-api-key: sk-ant-api03", MESSAGE)
        .upstream(answer(ANSWER))
        .client_expects(b"HTTP/1.1 200 OK", ANSWER)
        .play()
    )
    record = stage.telemetry.records[0]
    assert record.outcome == "ok"
    assert record.cost_nano == 12 * 3000 + 3 * 15000
    assert stage.journal.settled == [record]
    assert len(stage.journal.admitted) == 1


def test_a_stream_goes_through_event_by_event():
    script = Script().client(post("/v1/messages", STREAMED_MESSAGE)).upstream_expects(STREAMED_MESSAGE)
    script.upstream(STREAM_HEAD)
    script.client_expects(b"\r\n\r\n")
    for each in EVENTS:
        script.upstream(chunk(each)).client_expects(chunk(each))
    stage = script.upstream(b"0\r\n\r\n").client_expects(b"0\r\n\r\n").play()
    record = stage.telemetry.records[0]
    assert record.outcome == "ok"
    assert record.events == len(EVENTS)
    assert record.usage.units == {"input": 12, "output": 7}


# ---- proxies in front ----

JSON_STREAM = STREAM_HEAD.replace(b"text/event-stream", b"application/json")
STREAM_END = b"".join(map(chunk, EVENTS)) + b"0\r\n\r\n"
GEMINI = post("/v1beta/models/gemini-2.5-pro:streamGenerateContent", b'{"contents":[]}')
OPINIONATED = STREAM_HEAD[:-2] + b"X-Accel-Buffering: yes\r\nX-Accel-Redirect: /etc/passwd\r\n\r\n"


def heads(request: bytes, answered: bytes) -> list[str]:
    """What a pod says in an answer's head for nginx, which obeys it."""

    async def scene() -> list[str]:
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, request)
            await provider.send(answered)
            response = await client.response()
            head = [f"{name}: {value}" for name, value in response.headers.items() if name.startswith("x-accel")]
            await stage.settled()
            return head

    lines: list[str] = play(scene())
    return lines


@pytest.mark.parametrize(
    ("request_", "answered"),
    [
        (post("/v1/messages", STREAMED_MESSAGE), STREAM_HEAD + STREAM_END),
        (post("/v1/messages", STREAMED_MESSAGE), OPINIONATED + STREAM_END),
        (GEMINI, JSON_STREAM + chunk(b"[{}") + chunk(b"]") + b"0\r\n\r\n"),  # an array that grows
    ],
)
def test_a_stream_asks_nginx_not_to_hold_it_back(request_: bytes, answered: bytes):
    assert heads(request_, answered) == ["x-accel-buffering: no"]


@pytest.mark.parametrize(
    ("request_", "answered"),
    [
        (post("/v1/messages", MESSAGE), answer(ANSWER)),
        (post("/v1/messages", MESSAGE), answer(ANSWER, extra="X-Accel-Buffering: yes\r\n")),
        (post("/v1/messages", STREAMED_MESSAGE), answer(b"{}", status="400 Bad Request")),
    ],
)
def test_of_any_other_answer_it_is_told_nothing(request_: bytes, answered: bytes):
    assert heads(request_, answered) == []
