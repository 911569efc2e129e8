"""What goes in comes out: requests and answers, byte for byte, with the credential exchanged."""

from __future__ import annotations

from tests.proxy.stage import (
    ANSWER,
    EVENTS,
    MESSAGE,
    STREAM_HEAD,
    STREAMED_MESSAGE,
    Script,
    answer,
    chunk,
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
