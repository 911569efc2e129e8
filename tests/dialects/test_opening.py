"""The beginning of a stream: an error stands apart, the rest passes byte for byte, however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.dialects.opening import EVENT_BYTES, Opening, payload

START = b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":1}}}\n\n'
ERROR = b'event: error\ndata: {"type":"error","error":{"type":"authentication_error","message":"no"}}\n\n'
BARE = b'data: {"error":{"message":"no","code":401}}\n\n'
CREATED = b'data: {"type":"response.created","response":{"error":null}}\n\n'
FAILED = b'data: { "type": "response.failed", "response": {"error": {"code": "invalid_api_key"}}}\n\n'
DELTA = b'data: {"id":"c","choices":[{"delta":{"content":"error: {\\"error\\"}"}}]}\n\n'
COMMENT = b": an error is not in here\n\n"
EVENTS = [START, ERROR, BARE, CREATED, FAILED, DELTA, COMMENT]


def taken(pieces: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Everything that came out, in order, and the errors in it."""
    opening, out, errors = Opening(), b"", []
    for number, piece in enumerate([*pieces, b""]):
        came, last = piece, number == len(pieces)
        while True:
            passing, error = opening.feed(came, last=last)
            came = b""
            out += passing + error
            if not error:
                break
            errors.append(error)
    return out + opening.rest(), errors


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_errors_stand_apart_whatever_the_line_ends_and_wherever_it_is_cut(end: bytes, mark: bytes):
    text = mark + b"".join([COMMENT, START, ERROR, DELTA, CREATED, FAILED, BARE]).replace(b"\n", end)
    wanted = [event.replace(b"\n", end) for event in (ERROR, FAILED, BARE)]
    assert taken([text]) == (text, wanted)
    for cut in range(len(text)):
        assert taken([text[:cut], text[cut:]]) == (text, wanted)
    assert taken([text[at : at + 1] for at in range(len(text))]) == (text, wanted)


@given(st.lists(st.sampled_from(EVENTS) | st.binary(max_size=40), max_size=8), st.data())
def test_any_stream_comes_out_as_it_went_in(parts, data):
    text = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert taken(pieces) == (text, taken([text])[1])


def test_of_other_events_only_the_first_bytes_wait_and_line_ends():
    opening = Opening()
    assert opening.feed(b"eve") == (b"", b"")
    assert opening.feed(b"nt: m") == (b"event: m", b"")
    assert opening.feed(b"essage_start\n") == (b"essage_start", b"")
    assert opening.feed(b'data: {"type"') == (b'\ndata: {"type"', b"")


def test_behind_the_opening_nothing_is_looked_at():
    opening, burst = Opening(), DELTA * 300
    assert opening.feed(COMMENT * 9 + DELTA * 4 + ERROR + burst) == (COMMENT * 9 + DELTA * 4 + ERROR + burst, b"")
    assert opening.feed(ERROR[:20]) == (ERROR[:20], b"")


def test_an_error_longer_than_any_passes():
    long = b'data: {"error":"' + b"x" * EVENT_BYTES + b'"}\n\n'
    assert taken([long]) == (long, [])
    assert taken([long[:100], long[100:]]) == (long, [])


def test_an_error_without_its_blank_line_is_one_at_the_end():
    assert taken([ERROR.rstrip()]) == (ERROR.rstrip(), [ERROR.rstrip()])


def test_the_payload_is_the_data():
    assert payload(FAILED) == FAILED[6:-2]
    assert payload(b'\xef\xbb\xbfevent: error\r\ndata: {"a":\r\ndata: 1}\r\n\r\n') == b'{"a":\n1}'
