"""What stands between a provider's bytes and the client's: through every framing, and at every end."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Coroutine
from typing import Any

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.core.usage import Outcome
from dataplane.dialects.dialect import Operation
from dataplane.dialects.registry import ANTHROPIC, CHAT, GEMINI, RESPONSES
from dataplane.dialects.sse import SseSplitter
from dataplane.proxy.answer import fields_under_filters
from dataplane.proxy.channel import EVENT_END_S
from dataplane.proxy.provider.refused import Refused
from tests.dialects import streams
from tests.proxy.filtered import (
    ELEMENT_END,
    SOMEBODY,
    AsItIs,
    Case,
    EventByEvent,
    Rig,
    UpperCase,
    sent_by,
    shouted,
)
from tests.proxy.stage import ANSWER, EVENTS, chunk

REVOKED = Refusal(Code.VIRTUAL_KEY_REVOKED, "This key was revoked.")
SPENT = Refusal(Code.BUDGET_EXCEEDED, "Budget 'team' is used up.")
FORBIDDEN = Refusal(Code.VIRTUAL_KEY_DISABLED, "The tool 'bash' is not allowed here.")

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
STREAMS: dict[str, tuple[Case, bytes]] = {
    "anthropic": (Case(ANTHROPIC, Operation.MESSAGES), streams.ANTHROPIC),
    "responses": (Case(RESPONSES, Operation.RESPONSES), streams.RESPONSES),
    "chat": (Case(CHAT, Operation.CHAT), streams.CHAT),
    "gemini": (Case(GEMINI, Operation.STREAM_GENERATE_CONTENT), streams.GEMINI_SSE),
    "gemini array": (Case(GEMINI, Operation.STREAM_GENERATE_CONTENT, streaming=False), streams.GEMINI_ARRAY),
}
EVERY_STREAM = pytest.mark.parametrize("name", STREAMS)


def declared(length: int, content_type: bytes = b"text/event-stream") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (content_type, length)


def whole(body: bytes) -> bytes:
    return declared(len(body), b"application/json")


def event_by_event(name: str, **how: Any) -> EventByEvent:
    return EventByEvent(end=ELEMENT_END, **how) if name == "gemini array" else EventByEvent(**how)


def play(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scene)


# every framing


@pytest.mark.parametrize("http10", [False, True], ids=["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("framing", ["chunked", "length", "until close"])
@EVERY_STREAM
def test_a_stream_is_framed_anew_whatever_its_framing(name: str, framing: str, http10: bool):
    async def scene() -> None:
        case, text = STREAMS[name]
        head = {"chunked": CHUNKED, "length": declared(len(text)), "until close": UNTIL_CLOSE}[framing]
        async with Rig(Case(case.dialect, case.operation, case.streaming, http10=http10), (UpperCase(),), head) as rig:
            for at in range(0, len(text), 1000):
                piece = text[at : at + 1000]
                rig.feed(chunk(piece) if framing == "chunked" else piece)
            if framing == "chunked":
                rig.feed(b"0\r\n\r\n")
            elif framing == "until close":
                rig.closes()
            assert rig.body == text.upper()
            assert rig.ended is not http10
            assert b"Content-Length" not in rig.head
            assert rig.channel.clean
            assert rig.watcher.settled == [("ok", "")]
            assert rig.watcher.firsts == 1
            assert rig.channel.body_bytes == len(text)

    play(scene())


@pytest.mark.parametrize("http10", [False, True], ids=["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("framing", ["chunked", "length", "until close"])
def test_a_whole_answer_is_collected_and_sent_with_the_length_that_it_has_now(framing: str, http10: bool):
    async def scene() -> None:
        case = Case(ANTHROPIC, Operation.MESSAGES, streaming=False, whole=True, http10=http10)
        head = {"chunked": CHUNKED, "length": whole(ANSWER), "until close": UNTIL_CLOSE}[framing]
        async with Rig(case, (EventByEvent(lambda body: body.upper() * 2),), head) as rig:
            for piece in (ANSWER[:50], ANSWER[50:]):
                assert rig.client.written == []
                rig.feed(chunk(piece) if framing == "chunked" else piece)
            if framing == "chunked":
                rig.feed(b"0\r\n\r\n")
            elif framing == "until close":
                rig.closes()
            wanted = ANSWER.upper() * 2 + b": bye\n\n"
            assert rig.body == wanted
            assert b"Content-Length: %d\r\n" % len(wanted) in rig.head
            assert b"Transfer-Encoding" not in rig.head
            assert rig.channel.clean
            assert rig.watcher.settled == [("ok", "")]
            assert rig.watcher.written_before == []
            assert rig.meter.usage().units == {"input": 12, "output": 3}

    play(scene())


def test_an_answer_too_large_to_be_looked_at_is_refused_by_http():
    async def scene() -> None:
        case = Case(ANTHROPIC, Operation.MESSAGES, streaming=False, whole=True, most_bytes=100)
        async with Rig(case, (AsItIs(),), whole(ANSWER)) as rig:
            rig.feed(ANSWER[:100])
            assert rig.watcher.refusals == []
            rig.feed(ANSWER[100:120])
            [refusal] = rig.watcher.refusals
            assert (refusal.status, refusal.code) == (502, Code.PROVIDER_ERROR)
            assert "larger than 100 bytes" in refusal.message
            assert rig.client.written == []
            assert rig.channel.clean
            assert rig.provider.aborted

    play(scene())


# the laws of a filter's way


@EVERY_STREAM
def test_in_any_chunking_the_same_bytes_leave(name: str):
    async def scene() -> None:
        case, text = STREAMS[name]

        async def through(pieces: list[bytes]) -> bytes:
            async with Rig(case, (event_by_event(name), AsItIs()), CHUNKED) as rig:
                for piece in pieces:
                    rig.feed(chunk(piece))
                rig.feed(b"0\r\n\r\n")
                body = rig.body
                assert rig.ended
                assert rig.watcher.settled == [("ok", "")]
                return body

        wanted = await through([text])
        assert wanted != text
        assert shouted(text) in wanted
        assert await through([text[at : at + 1] for at in range(len(text))]) == wanted
        for at in range(1, len(text)):
            assert await through([text[:at], text[at:]]) == wanted, at

    play(scene())


@EVERY_STREAM
def test_the_provider_is_heard_before_and_the_client_read_behind(name: str):
    """Money follows the provider's bytes, whatever leaves."""

    async def scene() -> None:
        case, text = STREAMS[name]
        plain = case.meter()
        plain.feed(text)
        async with Rig(case, (event_by_event(name),), CHUNKED) as rig:
            half = len(text) // 2
            rig.feed(chunk(text[:half]))
            heard, got = case.meter(), case.meter()
            heard.feed(text[:half])
            got.feed(rig.body)
            assert (rig.meter.produced, rig.meter.events) == (heard.produced, heard.events)
            assert rig.reader.sent_so_far() == got.sent_so_far()
            rig.feed(chunk(text[half:]) + b"0\r\n\r\n")
            assert rig.meter.usage() == plain.usage()

    play(scene())


def test_whoever_looks_after_a_read_sees_what_the_meter_has_heard_and_not_what_has_left():
    async def scene() -> None:
        seen: list[tuple[int, int]] = []
        case, _ = STREAMS["anthropic"]

        def look() -> None:
            seen.append((rig.meter.events, len(rig.client.written)))

        async with Rig(case, (EventByEvent(),), CHUNKED, looks=(look,)) as rig:
            for event in EVENTS:
                rig.feed(chunk(event))
            assert seen == [(at + 1, at + 1) for at in range(len(EVENTS))]

    play(scene())


def test_bytes_that_wait_count_against_the_pods_memory_and_no_room_is_a_cut():
    async def scene() -> None:
        case, _ = STREAMS["anthropic"]
        async with Rig(case, (EventByEvent(),), CHUNKED) as rig:
            rig.feed(chunk(EVENTS[0] + EVENTS[1][:10]))
            rig.feed(chunk(EVENTS[1][10:20]))
            rig.feed(chunk(EVENTS[1][20:]))
            assert rig.reserved == [10, 20, 0]
            rig.room = 5
            rig.feed(chunk(EVENTS[2][:10]))
            assert rig.watcher.settled == [("cut", "overloaded")]
            assert b"event: error" in rig.body
            assert rig.ended
        case = Case(ANTHROPIC, Operation.MESSAGES, streaming=False, whole=True)
        async with Rig(case, (AsItIs(),), whole(ANSWER)) as rig:
            rig.feed(ANSWER[:10])
            assert rig.reserved == [10]
            rig.room = 15
            rig.feed(ANSWER[10:20])
            assert [refusal.code for refusal in rig.watcher.refusals] == [Code.OVERLOADED]

    play(scene())


# compressed in spite of us


def test_a_compressed_stream_is_decoded_first():
    async def scene() -> None:
        case, text = STREAMS["anthropic"]
        packed = gzip.compress(text)
        head = CHUNKED[:-2] + b"Content-Encoding: gzip\r\n\r\n"
        for step in (1, 7, len(packed)):
            async with Rig(case, (EventByEvent(),), head) as rig:
                for at in range(0, len(packed), step):
                    rig.feed(chunk(packed[at : at + step]))
                rig.feed(b"0\r\n\r\n")
                assert rig.body == shouted(text)
                assert b"Content-Encoding" not in rig.head
                assert rig.meter.complete

    play(scene())


@pytest.mark.parametrize(
    ("coding", "packed", "words"),
    [
        (b"compress", b"x", "cannot be read"),
        (b"gzip", b"no gzip at all", "is not what its Content-Encoding says"),
        (b"gzip", gzip.compress(b" " * 1_000_000), "too large"),
        (b"gzip", gzip.compress(ANSWER)[:-4], "ends too early"),
    ],
)
def test_what_cannot_be_decoded_is_refused_in_words(coding: bytes, packed: bytes, words: str):
    async def scene() -> None:
        case = Case(ANTHROPIC, Operation.MESSAGES, streaming=False, whole=True, most_bytes=100_000)
        head = whole(packed)[:-2] + b"Content-Encoding: " + coding + b"\r\n\r\n"
        async with Rig(case, (AsItIs(),), head) as rig:
            rig.feed(packed)
            [refusal] = rig.watcher.refusals
            assert refusal.status == 502
            assert words in refusal.message

    play(scene())


def test_a_head_keeps_what_holds_for_other_bytes_too():
    kept = [(b"Content-Type", b"a/b"), (b"request-id", b"1")]
    gone = [(b"Content-Encoding", b"gzip"), (b"content-length", b"5"), (b"ETag", b'"x"'), (b"Digest", b"sha=x")]
    assert fields_under_filters([kept[0], *gone, kept[1]]) == kept


# every end


def read_as(name: str, body: bytes) -> list[Any]:
    """The events, each of which a client can read."""
    if name == "gemini array":
        elements: list[Any] = json.loads(body)
        return elements
    last = re.split(rb"[\r\n]", body.rstrip())[-1]
    if last.startswith(b'{"error"'):  # Google's stands bare in the stream
        assert json.loads(last)
        return [last]
    splitter = SseSplitter()
    payloads = splitter.feed(body)
    assert not splitter.mid_event
    return [payload if payload == b"[DONE]" else json.loads(payload) for payload in payloads]


@pytest.mark.parametrize("refusal", [SPENT, REVOKED], ids=lambda refusal: refusal.code)
@EVERY_STREAM
def test_a_cut_at_every_byte_ends_what_the_client_has_in_its_own_dialect(name: str, refusal: Refusal):
    async def scene() -> None:
        case, text = STREAMS[name]
        for at in range(len(text) + 1):
            async with Rig(case, (event_by_event(name),), CHUNKED) as rig:
                rig.feed(chunk(text[:at]) if at else b"")
                before = rig.body
                rig.channel.cut(refusal, Outcome.CUT)
                sent = sent_by(case, before)
                ending = case.dialect.ending(refusal, SOMEBODY, "req_1", sent)
                assert rig.body == before + ending
                assert rig.provider.aborted
                if not ending and not sent.at.complete:
                    assert rig.client.aborted
                    continue
                assert rig.ended
                assert rig.watcher.settled == [("ok", "") if sent.at.complete else ("cut", refusal.code)]
                if name != "gemini array" or ending:
                    assert read_as(name, rig.body)

    play(scene())


@EVERY_STREAM
def test_a_cut_waits_for_the_end_of_the_event_that_the_client_has_half(name: str):
    async def scene() -> None:
        case, text = STREAMS[name]
        for at in range(1, len(text)):
            async with Rig(case, (AsItIs(),), CHUNKED) as rig:
                rig.feed(chunk(text[:at]))
                complete = rig.reader.complete
                half = rig.reader.mid_event and not complete
                rig.channel.cut(REVOKED, Outcome.CUT)
                if half:
                    assert rig.watcher.settled == []
                    rig.feed(chunk(text[at:]))
                assert len(rig.watcher.settled) == 1
                assert rig.provider.aborted
                assert rig.body.startswith(text[:at])
                if name != "gemini array" and not complete:
                    assert read_as(name, rig.body)

    play(scene())


def test_a_cut_does_not_wait_for_ever():
    async def scene() -> None:
        case, text = STREAMS["anthropic"]
        async with Rig(case, (AsItIs(),), CHUNKED) as rig:
            rig.feed(chunk(text[:30]))
            rig.channel.cut(REVOKED, Outcome.CUT)
            await asyncio.wait_for(rig.channel.ended(), 100 * EVENT_END_S)
            assert rig.client.aborted
            assert rig.watcher.settled == [("cut", "virtual_key_revoked")]

    play(scene())


@EVERY_STREAM
def test_a_verdict_ends_the_stream_behind_what_was_let_through(name: str):
    async def scene() -> None:
        case, text = STREAMS[name]
        passing: list[bytes] = []

        def noted(event: bytes) -> bytes:
            passing.append(shouted(event))
            return passing[-1]

        for at in (1, 2, 3):
            for step in (1, 50, len(text)):
                passing.clear()
                verdict = event_by_event(name, change=noted, verdict=FORBIDDEN, at=at)
                async with Rig(case, (AsItIs(), verdict, AsItIs()), CHUNKED) as rig:
                    for start in range(0, len(text), step):
                        if rig.watcher.settled:
                            break
                        rig.feed(chunk(text[start : start + step]))
                    if not verdict.verdict:  # an array has no more elements
                        assert name.startswith("gemini")
                        continue
                    through = b"".join(passing)
                    ending = case.dialect.ending(FORBIDDEN, SOMEBODY, "req_1", sent_by(case, through))
                    assert ending
                    assert rig.body == through + ending
                    assert rig.ended
                    assert rig.channel.clean
                    assert rig.provider.aborted
                    assert rig.watcher.settled == [("cut", "virtual_key_disabled")]
                    assert len(passing) == at

    play(scene())


def test_a_verdict_before_anything_has_left_is_an_http_error():
    async def scene() -> None:
        case = Case(ANTHROPIC, Operation.MESSAGES, streaming=False, whole=True)
        filters = (EventByEvent(verdict=FORBIDDEN, at=0, end=ELEMENT_END),)
        body = json.dumps(json.loads(ANSWER), indent=1).encode()
        async with Rig(case, filters, whole(body)) as rig:
            rig.feed(body)
            assert rig.watcher.refusals == [FORBIDDEN]
            assert rig.watcher.settled == [("cut", "virtual_key_disabled")]
            assert rig.client.written == []
            assert rig.channel.clean
            assert rig.meter.usage().units == {"input": 12, "output": 3}  # what the provider made is owed
        case, text = STREAMS["anthropic"]
        async with Rig(case, (EventByEvent(verdict=FORBIDDEN, at=0),), CHUNKED + chunk(text)) as rig:
            assert rig.watcher.refusals == [FORBIDDEN]
            assert rig.client.written == []

    play(scene())


class Suspicious:
    """Takes every error for one about the account."""

    def event(self, event: bytes) -> Refused | None:
        return Refused(Refusal(Code.PROVIDER_CREDENTIAL_REFUSED, "The provider refused our credential."), "no")


FAILED = streams.named([{"type": "error", "error": {"type": "authentication_error", "message": "no"}}])


def test_a_stream_that_begins_with_a_refusal_of_the_organization_is_judged_before_the_filters():
    async def scene() -> None:
        case, _ = STREAMS["anthropic"]
        async with Rig(case, (UpperCase(),), CHUNKED + chunk(FAILED), judge=Suspicious()) as rig:
            assert [refusal.code for refusal in rig.watcher.refusals] == [Code.PROVIDER_CREDENTIAL_REFUSED]
            assert rig.client.written == []
            assert rig.channel.clean
        async with Rig(case, (EventByEvent(),), CHUNKED, judge=Suspicious()) as rig:
            rig.feed(chunk(EVENTS[0] + FAILED))
            assert rig.body.startswith(EVENTS[0] + b"event: error\ndata: ")
            assert b"our credential" in rig.body
            assert b"authentication_error" not in rig.body
            assert rig.ended
            assert rig.watcher.settled == [("provider_error", "provider_credential_refused")]

    play(scene())


@EVERY_STREAM
def test_a_provider_that_breaks_off_at_every_byte_leaves_a_stream_that_ends(name: str):
    async def scene() -> None:
        case, text = STREAMS[name]
        broken = Refusal(Code.PROVIDER_ERROR, "the provider closed the connection before its answer was complete")
        for at in range(len(text) + 1):
            async with Rig(case, (event_by_event(name),), CHUNKED) as rig:
                rig.feed(chunk(text[:at]) if at else b"")
                before, complete = rig.body, rig.meter.complete
                rig.breaks()
                if complete:  # what it still held back is flushed
                    assert rig.ended
                    assert rig.watcher.settled == [("ok", "")]
                    continue
                assert rig.body == before + case.dialect.ending(broken, SOMEBODY, "req_1", sent_by(case, before))
                assert rig.ended
                assert rig.watcher.settled == [("failed", "provider_error")]

    play(scene())


def test_a_whole_answer_that_breaks_off_or_is_cut_is_an_http_error():
    async def scene() -> None:
        case = Case(ANTHROPIC, Operation.MESSAGES, streaming=False, whole=True)
        async with Rig(case, (AsItIs(),), whole(ANSWER)) as rig:
            rig.feed(ANSWER[:-1])
            rig.breaks()
            assert [refusal.status for refusal in rig.watcher.refusals] == [502]
            assert rig.watcher.settled == [("failed", "provider_error")]
        async with Rig(case, (AsItIs(),), whole(ANSWER)) as rig:
            rig.feed(ANSWER[:-1])
            rig.channel.cut(REVOKED, Outcome.CUT)
            assert rig.watcher.refusals == [REVOKED]
            assert rig.watcher.settled == [("cut", "virtual_key_revoked")]
            assert rig.provider.aborted

    play(scene())


@EVERY_STREAM
def test_a_client_that_leaves_at_any_byte_had_the_answer_if_it_had_its_end(name: str):
    async def scene() -> None:
        case, text = STREAMS[name]
        for at in range(len(text) + 1):
            async with Rig(case, (event_by_event(name),), CHUNKED) as rig:
                rig.feed(chunk(text[:at]) if at else b"")
                got = sent_by(case, rig.body).at.complete
                rig.channel.client_gone()
                assert rig.provider.aborted
                assert rig.watcher.settled == [("ok" if got else "client_gone", "")]

    play(scene())


def test_a_slow_client_stops_the_provider_and_what_is_held_goes_on_waiting():
    async def scene() -> None:
        case, _ = STREAMS["anthropic"]
        async with Rig(case, (EventByEvent(),), CHUNKED) as rig:
            rig.channel.client_reads(False)
            assert not rig.provider.reading
            rig.channel.client_reads(True)
            assert rig.provider.reading

    play(scene())
