"""The worst megabyte for every parser that a provider feeds: counted work, in proportion to what came, however it is
cut; and a bound on what one turn of the loop decodes."""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

import brotli
import pytest
import zstandard

from dataplane.core.usage import UsageClass
from dataplane.dialects import json_array, meters, opening, sse
from dataplane.dialects.dialect import Operation, RequestFacts
from dataplane.dialects.halves import with_whole_characters
from dataplane.dialects.json_array import JsonArraySplitter
from dataplane.dialects.meters import BodyMeter, EventMeter
from dataplane.dialects.opening import Opening
from dataplane.dialects.registry import ANTHROPIC
from dataplane.dialects.sse import SseSplitter
from dataplane.dialects.tally import Tally
from dataplane.providers.echo import Echo
from dataplane.proxy.filtering import _Plain
from dataplane.proxy.hearing import through
from dataplane.proxy.http import framing, heads
from dataplane.proxy.http.codings import Decoder, TooLarge
from dataplane.proxy.http.framing import Chunked, Length, ProtocolError
from dataplane.proxy.http.heads import HeadBounds, HeadBuffer, ResponseHead, ResponseReader
from dataplane.proxy.limits import Limits
from dataplane.proxy.provider.connection import UpstreamConnection
from dataplane.proxy.provider.gate import Destination
from dataplane.proxy.provider.reading import READ_BYTES, Reading
from dataplane.proxy.provider.response import Response, UpstreamFailure
from dataplane.proxy.provider.unpacked import readable
from tests.proxy.stage import play
from tests.proxy.test_provider_connection import Wire
from tests.proxy.work import Work

MIB = 1024 * 1024
MOST_PER_BYTE = 100  # how often a byte is gone over; what is quadratic goes over each 1,000 times and more
FACTS = RequestFacts("claude", (0, 0), True, 64, True, 10, "")

Feed = Callable[[bytes], object]


def chunked() -> Feed:
    return Chunked(extension_bytes=256, trailer_bytes=8192).feed


def interim() -> Feed:
    """Heads one behind the other, as a connection takes them."""
    buffer = HeadBuffer(64 * 1024)

    def feed(data: bytes) -> None:
        at = 0
        while (found := buffer.take(data, at)) is not None:
            at = found[1]

    return feed


def of(text: bytes, size: int = MIB) -> bytes:
    return (text * (size // len(text) + 1))[:size]


WORST: dict[str, tuple[Callable[[], Feed], ModuleType, bytes]] = {
    "interim answers": (interim, heads, of(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "tiny chunks": (chunked, framing, of(b"1\r\n \r\n")),
    "chunk extensions": (chunked, framing, of(b"1;" + b"x" * 250 + b"\r\n \r\n")),
    "one chunk": (chunked, framing, b"fffff\r\n" + of(b"x", MIB - 8)),
    "line feeds": (lambda: SseSplitter().feed, sse, of(b"\n")),
    "carriage returns": (lambda: SseSplitter().feed, sse, of(b"\r")),
    "tiny events": (lambda: SseSplitter().feed, sse, of(b"data:\n\n")),
    "lines of one event": (lambda: SseSplitter().feed, sse, of(b"data:x\n")),
    "one giant line": (lambda: SseSplitter().feed, sse, b"data: " + of(b"x", MIB - 6)),
    "empty elements": (lambda: JsonArraySplitter().feed, json_array, b"[{}" + of(b",{}", MIB - 3)),
    "brackets": (lambda: JsonArraySplitter().feed, json_array, b"[{" + of(b'[]{}""', MIB - 2)),
    "one giant element": (lambda: JsonArraySplitter().feed, json_array, b'[{"a":"' + of(b"x", MIB - 7)),
    "backslashes": (lambda: JsonArraySplitter().feed, json_array, b'[{"a":"' + of(b"\\", MIB - 7)),
    "spaces first": (lambda: Opening().feed, opening, of(b" ")),
    "line ends in an event": (lambda: Opening().feed, opening, b"x" + of(b"\r", MIB - 1)),
    "comments": (lambda: Opening().feed, opening, of(b":\n\n")),
    "an error that does not end": (lambda: Opening().feed, opening, b"event: error\ndata: " + of(b"x", MIB - 20)),
    "a body": (lambda: BodyMeter(Tally(FACTS)).feed, meters, of(b"x")),
}


@pytest.mark.parametrize("step", [16, 1_000, READ_BYTES])
@pytest.mark.parametrize("name", WORST)
def test_the_worst_megabyte_is_gone_over_a_bounded_number_of_times(name: str, step: int, monkeypatch):
    make, module, text = WORST[name]
    work = Work(monkeypatch, module)
    assert work.per_byte(make(), text, step) < MOST_PER_BYTE


def test_what_is_quadratic_is_noticed(monkeypatch):
    """The measure itself: a parser that copies the rest at each head."""
    buffer = HeadBuffer(64 * 1024)

    def feed(data: bytes) -> None:
        while (found := buffer.feed(data)) is not None:
            data = found[1]

    text = of(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert Work(monkeypatch, heads).per_byte(feed, text, READ_BYTES) > 3 * MOST_PER_BYTE


def test_a_flood_of_interim_answers_ends_with_the_eleventh(monkeypatch):
    reads: list[bytes] = []
    read = ResponseReader.read

    def noting(reader: ResponseReader, block: bytes) -> heads.ResponseHead:
        reads.append(block)
        return read(reader, block)

    monkeypatch.setattr(ResponseReader, "read", noting)

    async def scene() -> None:
        connection = UpstreamConnection(Destination("http", "p.test", 80), Limits(), lambda _: None, Reading())
        connection.connection_made(Wire())
        asking = connection.ask("POST", b"", b"")
        asking.send(None)
        connection.received(of(b"HTTP/1.1 100 Continue\r\n\r\n", READ_BYTES))
        connection.received(of(b"HTTP/1.1 100 Continue\r\n\r\n", READ_BYTES))
        asking.close()

    play(scene())
    assert len(reads) == Limits().interim_heads + 1


def test_a_head_of_many_fields_is_refused_before_they_are_parsed(monkeypatch):
    monkeypatch.setattr("httptools.HttpResponseParser", _never_fed)
    with pytest.raises(ProtocolError, match="too many fields"):
        heads.parse_response(b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 10_000 + b"\r\n", HeadBounds(64 * 1024, 128))


class _never_fed:
    def __init__(self, into: object) -> None: ...

    def feed_data(self, data: bytes) -> None:
        raise AssertionError("fed")


class Noting(Tally):
    """Notes what it is given to decode."""

    def __init__(self) -> None:
        super().__init__(FACTS)
        self.decoded: list[int] = []

    def event(self, payload: bytes) -> None:
        self.decoded.append(len(payload))

    def body(self, body: bytes) -> None:
        self.decoded.append(len(body))


@pytest.mark.parametrize("unit", [b"{},", b'"",'], ids=["objects", "strings"])
def test_an_answer_of_millions_of_values_is_not_decoded_but_for_its_end(unit: bytes):
    tally = Noting()
    meter = BodyMeter(tally)
    meter.feed(b'{"a":[' + unit * 4_000_000 + b'0],"usage":{"input_tokens":3}}')
    meter.close()
    assert tally.decoded == [len(b'{"usage":{"input_tokens":3}}')]


def test_an_event_of_millions_of_values_is_not_decoded():
    tally = Noting()
    meter = EventMeter(SseSplitter(), tally)
    meter.feed(b"data: [" + b"{}," * 1_000_000 + b"{}]\n\ndata: {}\n\n")
    assert tally.decoded == [2]


@pytest.mark.parametrize(
    "answer",
    [
        b'{"model":"claude-large","content":"%b","usage":{"input_tokens":3,"output_tokens":7}}',
        b'{"content":"%b","model":"claude-large","usage":{"input_tokens":3,"output_tokens":7}}',
    ],
    ids=["model first", "model last"],
)
def test_of_a_large_answer_the_model_and_its_figures_are_read(answer: bytes):
    meter = ANTHROPIC.meter(Operation.MESSAGES, streaming=False, facts=FACTS)
    body = answer % (b"x" * 3 * MIB)
    for at in range(0, len(body), READ_BYTES):
        meter.feed(body[at : at + READ_BYTES])
    meter.close()
    assert (meter.model, meter.usage().units) == ("claude-large", {UsageClass.INPUT: 3, UsageClass.OUTPUT: 7})


def test_an_event_of_so_many_lines_is_none():
    splitter = SseSplitter()
    lines = b"data:x\n" * 100_000 + b"\n"
    assert splitter.feed(lines + b"data: {}\n\n") == [b"{}"]


def test_no_more_of_an_answer_is_searched_for_half_characters_than_its_bound(monkeypatch):
    repaired: list[int] = []
    whole = with_whole_characters

    def noting(text: bytes) -> bytes:
        repaired.append(len(text))
        return whole(text)

    monkeypatch.setattr(meters, "with_whole_characters", noting)
    for halves in (1_000, 2_000_000):
        meter = ANTHROPIC.meter(Operation.MESSAGES, streaming=False, facts=FACTS)
        meter.feed(b'{"content":"' + b"\\ud800" * halves + b'","usage":{"output_tokens":7}}')
        meter.close()
        assert meter.usage().units[UsageClass.OUTPUT] == 7
    assert len(repaired) == 1


def test_a_usage_object_of_megabytes_is_none():
    meter = ANTHROPIC.meter(Operation.MESSAGES, streaming=False, facts=FACTS)
    meter.feed(b'{"usage":{"output_tokens":7,"a":[' + b"[]," * 100_000 + b"[]]}}")
    meter.close()
    assert meter.usage().source == "metered"


@pytest.mark.parametrize("bomb", [b" " * 100, b"data:\n\n", b"data: {}\n\n"], ids=["spaces", "events", "objects"])
def test_a_bomb_unfolds_to_a_megabyte_and_then_is_not_heard(bomb: bytes):
    tally = Noting()
    meter = EventMeter(SseSplitter(), tally)
    unfolded: list[int] = []
    feed = meter.feed

    def noting(data: bytes, *, last: bool = False) -> None:
        unfolded.append(len(data))
        feed(data, last=last)

    meter.feed = noting  # type: ignore[method-assign]
    listen = through(b"gzip", meter, 32 * MIB)
    packed = gzip.compress(of(bomb, 200 * MIB), 9)
    for at in range(0, len(packed), READ_BYTES):
        listen(packed[at : at + READ_BYTES])
    assert sum(unfolded) <= MIB
    assert len(tally.decoded) <= 100_000


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": partial(gzip.compress, compresslevel=9),
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor(level=1).compress,
}


@pytest.mark.parametrize("unit", [b" " * 100, b"data: {}\n\n"], ids=["spaces", "events"])
@pytest.mark.parametrize("coding", PACKINGS)
def test_one_read_unfolds_to_so_much_of_its_size_only(coding: str, unit: bytes):
    packed = PACKINGS[coding](of(unit, 32 * MIB))
    decoder = Decoder(coding.encode(), 64 * MIB)
    unfolded: list[int] = []
    steps = decoder.steps

    def noting(data: bytes) -> Iterator[bytes]:
        for piece in steps(data):
            unfolded.append(len(piece))
            yield piece

    decoder.steps = noting  # type: ignore[method-assign]
    with pytest.raises(TooLarge):
        decoder.read(packed[:1024])
    assert sum(unfolded) <= 2 * MIB + READ_BYTES


def test_what_holds_nothing_but_lines_is_too_large_however_short_it_is():
    packed = gzip.compress(bytes(random.Random(7).choices(b"\n{x", k=100_000)))
    with pytest.raises(TooLarge):
        Decoder(b"gzip", 64 * MIB).read(packed)


def test_a_bomb_that_filters_would_look_at_is_not_unfolded(monkeypatch):
    unfolded: list[int] = []
    steps = Decoder.steps

    def noting(decoder: Decoder, data: bytes) -> Iterator[bytes]:
        for piece in steps(decoder, data):
            unfolded.append(len(piece))
            yield piece

    monkeypatch.setattr(Decoder, "steps", noting)
    bomb = gzip.compress(of(b" ", 32 * MIB), 9)
    with pytest.raises(UpstreamFailure, match="too large to be looked at"):
        _Plain(b"gzip", 64 * MIB).feed(bomb[:1024], last=False)
    assert sum(unfolded) <= 2 * READ_BYTES


class Nowhere:
    """What an answer comes from that is all there."""

    def pause(self, response: Response) -> None: ...
    def resume(self, response: Response) -> None: ...
    def abort(self, response: Response) -> None: ...


def test_a_packed_error_is_looked_into_a_slice_per_turn_of_the_loop():
    words, size = b"the key sk-ant-0123456789 is refused ", 100_000

    async def scene() -> None:
        packed = gzip.compress(of(words, size))
        head = ResponseHead()
        head.status = 500
        head.on_header(b"Content-Encoding", b"gzip")
        response = Response(Nowhere(), head, Length(len(packed)))
        response.received(b"", packed, True)
        loop, turns = asyncio.get_running_loop(), 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            loop.call_soon(turn)

        turn()
        plain, covered = await readable(response, Echo(b"sk-ant-0123456789"))
        assert (turns >= size // (16 * 1024), covered) == (True, True)
        assert plain.head.get(b"content-length") == b"%d" % size

    play(scene())


def test_what_a_provider_packs_as_they_do_is_heard_to_its_end():
    events = b"".join(b'event: delta\ndata: {"index":%d,"text":"words %d"}\n\n' % (n, n * 7) for n in range(20_000))
    tally = Noting()
    listen = through(b"gzip", EventMeter(SseSplitter(), tally), 32 * MIB)
    packed = gzip.compress(events)
    for at in range(0, len(packed), READ_BYTES):
        listen(packed[at : at + READ_BYTES])
    assert len(tally.decoded) == 20_000
