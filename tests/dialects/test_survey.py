"""A large body is gone over in slices, and what would stop the loop is refused in words before it is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataplane.core.errors import Code, Refusal
from dataplane.dialects import halves, survey
from dataplane.dialects import scan as scanning
from dataplane.dialects.dialect import Operation
from dataplane.dialects.halves import end_of_slice, whole_characters, with_whole_characters
from dataplane.dialects.registry import ANTHROPIC, CHAT, GEMINI
from dataplane.dialects.scan import MAX_COUNT, scan

MIB = 1024 * 1024


def body(content: bytes) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":' + content + b'}],"stream":true}'


def text(escaped: bytes, size: int) -> bytes:
    return body(b'"' + escaped * (size // len(escaped)) + b'"')


def surveyed(raw: bytes) -> tuple[bytes, int]:
    """What is to be looked at, and how many steps it took."""
    steps, walk = 0, survey.survey(raw)
    while True:
        try:
            next(walk)
        except StopIteration as end:
            return end.value, steps
        steps += 1


WORST = {
    "plain": b"x",
    "two bytes": "é".encode(),
    "line ends": rb"\n",
    "quotes": rb"\"",
    "backslashes": rb"\\",
    "escapes": rb"\u00e9",
    "escaped pairs": rb"\ud83d\ude00",
    "text that looks like escapes": rb"\\ud83d",
    "text that looks like JSON": rb"{\"a\":[1,2]},",
}


@pytest.mark.parametrize("worst", WORST)
def test_a_long_text_of_whatever_passes_and_no_step_sees_more_than_a_slice(worst: str, monkeypatch: pytest.MonkeyPatch):
    raw = text(WORST[worst], 3 * MIB)
    seen: list[int] = []

    def watched(piece: bytes) -> tuple[bytes, int]:
        seen.append(len(piece))
        return whole_characters(piece)

    monkeypatch.setattr(survey, "whole_characters", watched)
    shown, steps = surveyed(raw)
    assert shown == raw
    assert max(seen) <= survey.SLICE <= 256 * 1024
    assert sum(seen) == len(raw)
    assert steps >= len(seen) >= len(raw) // survey.SLICE
    facts = ANTHROPIC.read_request(Operation.MESSAGES, "", shown, surveyed=True)
    assert (facts.model, facts.stream, raw[slice(*facts.model_span or (0, 0))]) == ("m", True, b'"m"')


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"[" + b",".join([b"{}"] * 600_000) + b"]", "more than 500000 values", id="objects"),
        pytest.param(b"[" + b",".join([b"1"] * 600_000) + b"]", "more than 500000 values", id="numbers"),
        pytest.param(b"[" + b",".join([b'""'] * 600_000) + b"]", "more than 500000 values", id="strings"),
        pytest.param(b"[" + b",".join([b"[" * 400 + b"]" * 400] * 1500) + b"]", "more than 500000 values", id="lists"),
        pytest.param(
            b"{" + b",".join(b'"%d":0' % number for number in range(600_000)) + b"}",
            "more than 500000 values",
            id="fields",
        ),
        pytest.param(b'"' + rb"\ud800" * 70_000 + b'"', "more than 65536 halves", id="halves"),
    ],
)
def test_too_much_structure_is_refused_before_it_is_read(content, words, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scanning, "refuse_a_large_rest", lambda body: pytest.fail("it was read"))
    with pytest.raises(Refusal, match=words) as refused:
        surveyed(body(content))
    assert refused.value.code is Code.BAD_REQUEST


def test_what_a_batch_of_embeddings_holds_passes():
    raw = b'{"model":"m","input":[[' + b",".join([b"12345"] * 300_000) + b"]]}"
    shown, _ = surveyed(raw)
    assert CHAT.read_request(Operation.EMBEDDINGS, "", shown, surveyed=True).model == "m"


def test_a_large_rest_is_refused_as_it_is_without_a_survey():
    raw = b'{"model":"m","x":"' + b"x" * (2 * MIB) + b'"}'
    with pytest.raises(Refusal, match="outside of messages"):
        surveyed(raw)


def test_half_characters_in_a_large_body_are_repaired_slice_by_slice():
    raw = text(b"x" * 5000 + rb"\ud83d" + rb"\ud83d\ude00" + b"\\\\ud83d", 2 * MIB)
    shown, _ = surveyed(raw)
    assert len(shown) == len(raw)
    assert shown == raw.replace(rb"x\ud83d\ud83d", rb"x\ufffd\ud83d")
    assert shown == with_whole_characters(raw)


ESCAPES = st.lists(
    st.sampled_from(
        [rb"\ud83d", rb"\ude00", rb"\ud83d\ude00", b"\\\\", rb"\"", rb"\n", b"x", b"u", b"d800", b"\\u00e9"]
    )
)


@given(ESCAPES, st.integers(32, 60))
@example([b"\\\\"] * 40, 33)
@example([b"x", *[b"\\\\"] * 40], 33)
@example([rb"\ud83d\ude00"] * 10, 38)
def test_slices_repair_what_the_whole_does(parts: list[bytes], size: int):
    whole = b"".join(parts)
    at, pieces = 0, []
    while at < len(whole):
        end = end_of_slice(whole, at, size)
        assert at < end <= at + size
        pieces.append(whole_characters(whole[at:end])[0])
        at = end
    assert b"".join(pieces) == with_whole_characters(whole)


def test_no_half_character_costs_a_call_of_its_own(monkeypatch: pytest.MonkeyPatch):
    """The replacement is a text, so that the engine puts it in by itself."""
    given_to_sub: list[bytes] = []

    class Watched:
        def subn(self, replacement: bytes, text: bytes) -> tuple[bytes, int]:
            given_to_sub.append(replacement)
            return real.subn(replacement, text)

    real = halves._LONE
    monkeypatch.setattr(halves, "_LONE", Watched())
    assert with_whole_characters(rb"\ud800" * 1000) == rb"\ufffd" * 1000
    assert given_to_sub == [rb"\\ufffd"]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b'{"a":' + b"[" * 100_000, "the request body is nested too deeply"),
        (b'{"\xff":1}', "the request body is not valid JSON: it is not UTF-8 text"),
        (b"nonsense", "the request body is not valid JSON: JSON is malformed: invalid character (byte 4)"),
        (b"[]", "the request body is not a JSON object"),
    ],
)
def test_what_cannot_be_read_is_said_in_words_that_are_not_the_interpreters(raw: bytes, words: str):
    with pytest.raises(Refusal) as refused:
        scan(raw)
    assert refused.value.message == words


@pytest.mark.parametrize("number", [b"1" + b"0" * 100_000, b"1e400", b"-5", b"1.5", b"NaN", b'"7"', b"true", b"[[[]]]"])
@pytest.mark.parametrize("large", [False, True])
def test_a_number_of_whatever_length_is_no_count_and_raises_nothing(number: bytes, large: bool):
    padding = b"x" * (2 * MIB if large else 10)
    raw = b'{"model":"m","max_tokens":' + number + b',"messages":"' + padding + b'"}'
    refusal: Refusal | None = None
    most = 0
    try:
        shown = surveyed(raw)[0] if large else raw
        most = ANTHROPIC.read_request(Operation.MESSAGES, "", shown, surveyed=large).max_output
    except Refusal as raised:
        refusal = raised
    assert 0 <= most <= MAX_COUNT
    assert refusal is None or (refusal.code is Code.BAD_REQUEST and "integer string" not in refusal.message)


def test_a_count_of_many_digits_is_bounded():
    raw = json.dumps({"model": "m", "max_tokens": 10**30, "generationConfig": {"maxOutputTokens": 10**30}}).encode()
    assert ANTHROPIC.read_request(Operation.MESSAGES, "", raw).max_output <= MAX_COUNT
    assert GEMINI.read_request(Operation.GENERATE_CONTENT, "m", raw).max_output <= MAX_COUNT


def test_nesting_inside_a_user_id_raises_nothing():
    user_id = '{"session_id":"s","a":' + "[" * 2000 + "]" * 2000 + "}"
    raw = json.dumps({"model": "m", "metadata": {"user_id": user_id}}).encode()
    assert ANTHROPIC.read_request(Operation.MESSAGES, "", raw).session == ""


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        (b"[" + b",".join([b"1"] * 100_000) + b"]", "something else than objects"),
        (b"[" + b",".join([b"{}"] * 2_001) + b"]", "more than 2000 elements"),
    ],
)
def test_a_batch_of_millions_is_refused_before_each_is_looked_at(requests: bytes, words: str):
    with pytest.raises(Refusal, match=words):
        GEMINI.read_request(Operation.EMBED_CONTENT, "m", b'{"requests":' + requests + b"}")
