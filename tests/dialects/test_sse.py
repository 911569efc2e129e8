from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.dialects.sse import SseSplitter
from dataplane.dialects.tails import TAIL_BYTES, Remnant


def naive(text: bytes) -> list[bytes]:
    """The specification read line by line over the whole stream at once (with our leniency at the end)."""
    text = text.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[bytes] = []
    data: list[bytes] = []
    for line in [*text.split(b"\n"), b""]:
        if not line:
            if data:
                events.append(b"\n".join(data))
            data = []
            continue
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value[1:] if value[:1] == b" " else value)
    return events


def fed(chunks: list[bytes]) -> list[bytes]:
    splitter = SseSplitter()
    events = [event for chunk in chunks for event in splitter.feed(chunk)]
    return events + splitter.close()


PIECES = [
    b"data: ", b"data:", b"data", b"event: x", b": comment", b"id: 1", b"retry: 3", b"\n", b"\r", b"\r\n", b"\n\n",
    b"\r\n\r\n", b"\xef\xbb\xbf", b"{}", b" ", b":", b"data: one\n\n", b"event: a\ndata: two\n\n", b"da", b"\xff",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=25), st.data())
def test_any_chunking_gives_the_events_of_the_specification(pieces, data):
    text = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert fed(chunks) == naive(text)


@given(st.lists(st.sampled_from(PIECES), max_size=15))
def test_one_byte_at_a_time_gives_the_events_of_the_specification(pieces):
    text = b"".join(pieces)
    assert fed([text[i : i + 1] for i in range(len(text))]) == naive(text)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_read_of_one_whole_event_is_its_data_whatever_ends_its_lines(end):
    reads = {
        b"data: 1": b"1",
        b"data: ": b"",
        b"event: e" + end + b"data: 2": b"2",
        b"data: 3" + end + b"data: 4": b"3\n4",
        b"data: 5" + end + b"id: 6": b"5",
        b"data:7": b"7",
    }
    splitter = SseSplitter()
    assert splitter.feed(b"data: first" + end + end) == [b"first"]
    for read, data in reads.items():
        assert splitter.feed(read + end + end) + splitter.feed(b": comment" + end + end) == [data]


def test_an_event_comes_out_with_the_byte_that_completes_it():
    splitter = SseSplitter()
    assert splitter.feed(b"data: 1\n") == []
    assert splitter.feed(b"\n") == [b"1"]
    assert splitter.feed(b"data: 2\r") == []
    assert splitter.feed(b"\r") == [b"2"]
    assert splitter.feed(b"\ndata: 3\n\n") == [b"3"]


def test_it_knows_whether_the_bytes_end_inside_an_event():
    splitter = SseSplitter()
    for chunk, inside in ((b"data: 1", True), (b"\n", True), (b"\n", False), (b"\n", False), (b"data: 2\n\nda", True)):
        splitter.feed(chunk)
        assert splitter.mid_event is inside


def test_of_an_event_beyond_the_limit_the_beginning_and_the_end_are_kept_and_the_rest_is_heard():
    splitter = SseSplitter(limit=100)
    assert splitter.feed(b"data: 1\n\ndata: ") == [b"1"]
    for _ in range(50):
        assert splitter.feed(b"x" * 10) == []
        assert len(splitter._pending) <= 2 * TAIL_BYTES
    assert splitter.overflowed
    cut, after = splitter.feed(b"end\n\ndata: 2\n\n")
    assert isinstance(cut, Remnant)
    assert cut.head.startswith(b"data: xxx")
    assert cut.endswith(b"xend")
    assert cut.size == len(b"data: ") + 500 + len(b"end")
    assert after == b"2"
    assert splitter.feed(b"data: 3\n\n") == [b"3"]
    assert splitter.close() == []


def test_a_stream_may_end_inside_an_event_beyond_the_limit():
    splitter = SseSplitter(limit=100)
    splitter.feed(b"data: " + b"x" * 200)
    [cut] = splitter.close()
    assert isinstance(cut, Remnant)
    assert cut.endswith(b"x")
    assert cut.size == 206
    assert splitter.close() == []
