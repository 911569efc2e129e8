"""Framing without sockets: one reading of every message, whatever the cuts, and never another one than h11's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.proxy.client.memory import HeadMemory
from dataplane.proxy.http import framing as wire_framing
from dataplane.proxy.http import heads as http1
from dataplane.proxy.http.framing import Chunked, Length, ProtocolError, UntilClose
from dataplane.proxy.http.heads import HeadBounds, HeadBuffer
from tests.proxy.corpus import ACCEPTED, REFUSED

BOUNDS = HeadBounds(64 * 1024, 128, 8 * 1024)


@dataclass(frozen=True)
class Message:
    method: str
    target: bytes
    body: bytes
    rest: bytes


def ours(raw: bytes, step: int = 0) -> Message | None:
    """The first request in `raw` as we read it; None when we refuse it, or when it has no end."""
    pieces = [raw[at : at + step] for at in range(0, len(raw), step)] if step else [raw]
    heads = HeadBuffer(BOUNDS.bytes)
    head: http1.RequestHead | None = None
    framing: Length | Chunked = Length(0)
    body = rest = b""
    try:
        for piece in pieces:
            if head is None:
                found = heads.feed(piece)
                if found is None:
                    continue
                caller, length = HeadMemory(BOUNDS).read(found[0])
                head = caller.head
                framing = Chunked(extension_bytes=256, trailer_bytes=8192) if head.chunked else Length(length)
                piece = found[1]
            if not framing.done and piece:
                data, used = framing.feed(piece)
                body += data
                piece = piece[used:]
            if framing.done:
                rest += piece
    except ProtocolError:
        return None
    if head is None or not framing.done:
        return None
    return Message(head.method, head.target, body, rest)


def theirs(raw: bytes) -> Message | None:
    """The same by h11."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(raw)
    method, target, body = "", b"", b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                method, target = event.method.decode(), event.target
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Message(method, target, body, connection.trailing_data[0])
            else:
                return None
    except h11.RemoteProtocolError:
        return None


@pytest.mark.parametrize("raw", [case.raw for case in ACCEPTED], ids=[case.name for case in ACCEPTED])
def test_what_we_accept_h11_reads_alike(raw: bytes):
    read = ours(raw)
    assert read is not None
    assert read == theirs(raw)
    assert ours(raw, step=1) == read


@pytest.mark.parametrize("raw", [case.raw for case in REFUSED], ids=[case.name for case in REFUSED])
def test_what_we_refuse_we_refuse_byte_by_byte_too(raw: bytes):
    assert ours(raw) is None
    assert ours(raw, step=1) is None


@given(st.sampled_from(ACCEPTED + REFUSED), st.data())
def test_no_mutation_is_read_differently_by_us_and_by_h11(case, data):
    raw = bytearray(case.raw[:2000])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        noise = data.draw(
            st.sampled_from([b"\r", b"\n", b"\0", b" ", b"\t", b":", b"0", b"5", b";", b"chunked", b"\r\n"])
        )
        if data.draw(st.booleans()):
            raw[at:at] = noise
        else:
            raw[at : at + 1] = noise
    read, other = ours(bytes(raw)), theirs(bytes(raw))
    assert ours(bytes(raw), step=1) == read
    if read is not None and other is not None:
        assert read == other


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20), st.integers(1, 40), st.binary(max_size=10))
def test_chunks_come_out_as_they_went_in_however_they_are_cut(pieces, step, rest):
    wire = b"".join(wire_framing.chunk(piece) for piece in pieces) + wire_framing.CHUNKED_END
    framing = Chunked(extension_bytes=256, trailer_bytes=8192)
    body, used = b"", 0
    everything = wire + rest
    for at in range(0, len(everything), step):
        if framing.done:
            break
        data, taken = framing.feed(everything[at : at + step])
        body += data
        used += taken
    assert framing.done
    assert body == b"".join(pieces)
    assert used == len(wire)


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=8), st.data())
def test_a_feed_of_whole_chunks_says_so_and_no_other(pieces, data):
    wire = b"".join(wire_framing.chunk(piece) for piece in pieces)
    ends = {0}
    for piece in pieces:
        ends.add(max(ends) + len(wire_framing.chunk(piece)))
    cut = data.draw(st.integers(1, len(wire)))
    framing = Chunked(extension_bytes=256, trailer_bytes=8192)
    framing.feed(wire[:cut])
    assert framing.whole == framing.at_boundary == (cut in ends)
    if cut < len(wire):
        framing.feed(wire[cut:])
        assert framing.at_boundary
        assert framing.whole == (cut in ends)


def test_chunk_extensions_are_bounded_and_never_passed_on():
    framing = Chunked(extension_bytes=16, trailer_bytes=64)
    assert framing.feed(b"2;key=secret\r\nab\r\n") == (b"ab", 18)
    assert not framing.whole
    with pytest.raises(ProtocolError):
        Chunked(extension_bytes=16, trailer_bytes=64).feed(b"2;" + b"x" * 40 + b"\r\n")


def test_trailers_are_bounded():
    framing = Chunked(extension_bytes=16, trailer_bytes=64)
    with pytest.raises(ProtocolError) as raised:
        framing.feed(b"0\r\n" + b"X-Trailer: some value\r\n" * 4)
    assert raised.value.status == 431


def test_the_head_of_a_response_is_read_as_strictly():
    for raw in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: a\n\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ):
        with pytest.raises(ProtocolError):
            http1.parse_response(raw, BOUNDS)


def test_a_response_is_framed_in_the_order_of_the_rfc():
    def framing(raw: bytes, method: str = "POST") -> object:
        head = http1.parse_response(raw, BOUNDS)
        return type(head.framing(method, extension_bytes=0, trailer_bytes=0))

    assert framing(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") is Length
    assert framing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n") is Chunked
    assert framing(b"HTTP/1.1 200 OK\r\n\r\n") is UntilClose
    assert framing(b"HTTP/1.1 204 No Content\r\n\r\n") is Length
    assert framing(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n") is Length
    assert framing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD") is Length


@pytest.mark.parametrize(
    "field",
    [(b"X", b"a\r\nInjected: b"), (b"X\r\nInjected: b", b"a"), (b"X", b"a\nb"), (b"X", b"a\0b"), (b"X", b"a\rb")],
)
def test_no_line_can_be_made_out_of_a_value(field: tuple[bytes, bytes]):
    with pytest.raises(ValueError):
        http1.encode_response(200, [field])
    with pytest.raises(ValueError):
        http1.encode_request(b"POST", b"/", [field])


@pytest.mark.parametrize(
    ("method", "target"), [(b"POST /x", b"/"), (b"POST", b"/a b"), (b"POST", b"/a\r\nX: b"), (b"P\n", b"/")]
)
def test_no_request_line_can_be_made_out_of_a_target(method: bytes, target: bytes):
    with pytest.raises(ValueError):
        http1.encode_request(method, target, [])


RESPONSE_LINES = [
    b"Content-Length: 5",
    b"content-length: 6",
    b"Content-Length:  5 ",
    b"Content-Length: -5",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: gzip, chunked",
    b"Connection: close",
    b"connection: keep-alive, X-A",
    b"Connection: keep-alive",
    b"X-A: 1",
    b"x-a: 2",
    b"X-A:1",
    b"X-A:",
    b"X-A: \t1\t",
    b"X-A: a\tb c",
    b"X-A: \xe9",
    b"X-A: \x07",
    b"X-A: 1\n",
    b"X-A: 1\rX",
    b"X-A: 1\x00",
    b"X A: 1",
    b"X-A : 1",
    b" folded",
    b": 1",
    b"X-A",
    b"",
]
STATUS_LINES = [
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 404 Not Found",
    b"HTTP/1.1 200 Fine",
    b"HTTP/1.1 200",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 99 Low",
    b"HTTP/2.0 200 OK",
]


def _response_head(line: bytes, lines: list[bytes]) -> bytes:
    return b"\r\n".join([line, *lines]) + b"\r\n\r\n"


RESPONSE_HEADS = st.builds(
    _response_head, st.sampled_from(STATUS_LINES), st.lists(st.sampled_from(RESPONSE_LINES), max_size=5)
)


@given(st.lists(RESPONSE_HEADS, min_size=1, max_size=5))
def test_a_response_is_read_alike_whatever_came_before_it_on_its_connection(blocks):
    bounds = HeadBounds(200, 4)
    reader = http1.ResponseReader(bounds)

    def reading(read: Callable[[bytes], http1.ResponseHead], block: bytes) -> object:
        try:
            head = read(block)
        except ProtocolError as error:
            return error.status
        return head.status, head.fields, head.first, head.http10, head.keep_alive

    for block in [*blocks, *blocks]:
        assert reading(reader.read, block) == reading(lambda raw: http1.parse_response(raw, bounds), block)
