"""A provider's credential in what it says: covered in errors, told of elsewhere, and no other byte is changed."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.dialects.sent import Form
from dataplane.providers.echo import Echo
from dataplane.proxy.cleaning import Cleaner, Content, ErrorBody, Events
from tests.providers.test_echo import SPELLINGS

CREDENTIAL = b"sk-ant-api03-Qx/7+zP_own=secret&more"
ECHO = Echo(CREDENTIAL)
KEY = json.dumps(CREDENTIAL.decode()).strip('"').encode()

DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"an error: \\"error\\" %s"}}\n\n'
)
ERRORS = {
    "anthropic": b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"bad %s"}}\n\n',
    "anthropic, unnamed": b'data: {"error":{"message":"bad %s"},"type":"error"}\n\n',
    "responses": b'event: response.failed\ndata: {"type":"response.failed","response":{"error":{"message":"%s"}}}\n\n',
    "responses, error": b'event: error\ndata: {"sequence_number":3,"message":"%s","type":"error","code":null}\n\n',
    "chat": b'data: {"error":{"message":"key %s","code":401}}\n\n',
    "chat, in a chunk": b'data: {"id":"c","choices":[{"finish_reason":"error"}],"error":{"message":"%s"}}\n\n',
    "gemini": b'data: {"error":{"code":400,"message":"?key=%s","status":"INVALID_ARGUMENT"}}\r\n\r\n',
    "no JSON": b"event: error\ndata: %s\n\n",
}
ARRAY = b'[{"candidates":[{"content":{"parts":[{"text":"%s"}]}}]}\n,\r\n{"error":{"code":400,"message":"?key=%s"}}]'


def passed(cleaner: Cleaner, text: bytes, cuts: list[int]) -> bytes:
    edges = [0, *sorted(cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    return b"".join([cleaner.feed(piece, last=number == len(pieces) - 1) for number, piece in enumerate(pieces)])


def whatever(said: list[bool]):
    return said.append


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("spelling", ["plain", "in an address", "JSON", "base64 behind 2", "JSON, every letter"])
def test_an_error_event_leaves_without_the_credential_wherever_it_is_cut(name: str, spelling: str):
    text = DELTA % b"no key" + ERRORS[name] % SPELLINGS[spelling] + DELTA % b"none either"
    for at in range(1, len(text)):
        found: list[bool] = []
        out = passed(Events(ECHO, found.append, Form.EVENTS), text, [at])
        assert not ECHO.is_in(out), at
        assert len(out) == len(text)
        assert out == ECHO.cover(text)
        assert set(found) == {True}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_event_that_comes_byte_by_byte_leaves_without_the_credential(name: str):
    text = ERRORS[name] % KEY
    assert passed(Events(ECHO, whatever([]), Form.EVENTS), text, list(range(1, len(text)))) == ECHO.cover(text)


def test_other_content_passes_and_is_told_of_once_in_a_read():
    text = DELTA % KEY + ERRORS["anthropic"] % b"no key" + DELTA % KEY
    for at in range(1, len(text)):
        found: list[bool] = []
        assert passed(Events(ECHO, found.append, Form.EVENTS), text, [at]) == text
        assert set(found) == {False}


def test_an_error_behind_content_with_the_credential_is_the_only_one_covered():
    text = DELTA % KEY + ERRORS["chat"] % KEY + DELTA % KEY
    wanted = DELTA % KEY + ECHO.cover(ERRORS["chat"] % KEY) + DELTA % KEY
    for at in range(1, len(text)):
        found: list[bool] = []
        assert passed(Events(ECHO, found.append, Form.EVENTS), text, [at]) == wanted, at
        assert set(found) == {True, False}


def test_an_error_in_an_array_is_covered():
    text = ARRAY % (b"text", KEY)
    for at in range(1, len(text)):
        assert passed(Events(ECHO, whatever([]), Form.ARRAY), text, [at]) == ECHO.cover(text), at
    bare = b'{"error":{"code":400,"message":"?key=' + KEY + b'"}}'
    assert passed(Events(ECHO, whatever([]), Form.ARRAY), bare, []) == ECHO.cover(bare)
    content = ARRAY[: ARRAY.index(b",")] % KEY + b"]"
    found: list[bool] = []
    assert passed(Events(ECHO, found.append, Form.ARRAY), content, [40]) == content
    assert found == [False]


def test_a_long_event_is_judged_by_its_beginning_and_does_not_wait_for_its_end():
    text = b'event: error\ndata: {"type":"error","m":"' + b"x" * 200_000 + KEY + b"y" * 200_000 + b'"}\n\n'
    cleaner = Events(ECHO, whatever([]), Form.EVENTS)
    out = b""
    for at in range(0, len(text), 4096):
        out += cleaner.feed(text[at : at + 4096], last=False)
        assert at + 4096 - len(out) < 3 * 64 * 1024
    assert out + cleaner.rest() == ECHO.cover(text)


@given(
    st.lists(st.sampled_from([DELTA % b"x", DELTA % KEY, *[e % KEY for e in ERRORS.values()], b": ping\n\n"])),
    st.data(),
)
def test_a_stream_in_any_chunking_leaves_the_same(events, data):
    text = b"".join(events)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8))
    wanted = b"".join([ECHO.cover(event) if b"delta" not in event else event for event in events])
    assert passed(Events(ECHO, whatever([]), Form.EVENTS), text, cuts) == wanted


def test_a_piece_with_nothing_in_it_is_passed_on_as_the_same_object():
    told = whatever([])
    cleaners: tuple[Cleaner, ...] = (Events(ECHO, told, Form.EVENTS), ErrorBody(ECHO, told), Content(ECHO, told))
    for piece in (DELTA % b"x", ERRORS["chat"] % b"no", b'{"error":{"message":"no"}}'):
        for cleaner in cleaners:
            assert cleaner.feed(piece, last=False) is piece


@given(st.lists(st.sampled_from([*SPELLINGS.values(), b" and ", b'"}', b"\n"]), max_size=5), st.data())
def test_an_errors_body_in_any_chunking_leaves_without_it(parts, data):
    text = b"".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6))
    found: list[bool] = []
    out = passed(ErrorBody(ECHO, found.append), text, cuts)
    assert out == ECHO.cover(text)
    assert bool(found) is (out != text)


@pytest.mark.parametrize("at", range(0, len(CREDENTIAL) + 40, 3))
def test_a_credential_in_a_whole_answer_is_told_of_across_reads(at: int):
    text = b'{"content":"your key is ' + CREDENTIAL + b' as you know"}'
    found: list[bool] = []
    assert passed(Content(ECHO, found.append), text, [at, min(at + 3, len(text))]) == text
    assert found == [False]
