"""Bytes in any chunking give the same result, for every dialect."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.dialects.dialect import Dialect, Operation
from dataplane.dialects.registry import ANTHROPIC, CHAT, GEMINI, RESPONSES
from tests.dialects import streams
from tests.dialects.metering import metered, result

CASES: dict[str, tuple[Dialect, Operation, bytes, bool]] = {
    "anthropic": (ANTHROPIC, Operation.MESSAGES, streams.ANTHROPIC, True),
    "anthropic crlf": (
        ANTHROPIC,
        Operation.MESSAGES,
        streams.named([streams.ANTHROPIC_START, *streams.ANTHROPIC_CONTENT, *streams.ANTHROPIC_END], b"\r\n"),
        True,
    ),
    "responses": (RESPONSES, Operation.RESPONSES, streams.RESPONSES, True),
    "chat": (CHAT, Operation.CHAT, streams.CHAT, True),
    "gemini events": (GEMINI, Operation.STREAM_GENERATE_CONTENT, streams.GEMINI_SSE, True),
    "gemini array": (GEMINI, Operation.STREAM_GENERATE_CONTENT, streams.GEMINI_ARRAY, False),
    "gemini answer": (GEMINI, Operation.GENERATE_CONTENT, json.dumps(streams.GEMINI_CHUNKS[-1]).encode(), False),
}


@pytest.mark.parametrize("name", CASES)
def test_a_stream_split_at_every_byte_gives_the_same_result(name):
    dialect, operation, text, streaming = CASES[name]
    whole = result(metered(dialect, operation, [text], streaming=streaming))
    for at in range(1, len(text)):
        assert result(metered(dialect, operation, [text[:at], text[at:]], streaming=streaming)) == whole, at
    single = [text[at : at + 1] for at in range(len(text))]
    assert result(metered(dialect, operation, single, streaming=streaming)) == whole


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@settings(max_examples=40)
def test_random_splits_give_the_same_result(name, data):
    dialect, operation, text, streaming = CASES[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    chunks = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = result(metered(dialect, operation, [text], streaming=streaming))
    assert result(metered(dialect, operation, chunks, streaming=streaming)) == whole


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@settings(max_examples=60)
def test_a_damaged_stream_never_raises_and_never_counts_below_zero(name, data):
    dialect, operation, text, streaming = CASES[name]
    at = data.draw(st.integers(0, len(text)))
    noise = data.draw(st.binary(max_size=30) | st.sampled_from([b"null", b"[]", b"-1", b'"', b"1e400", b"\n\n", b"{}"]))
    keep = data.draw(st.integers(at, len(text)))
    meter = metered(dialect, operation, [text[:at] + noise, text[keep:]], streaming=streaming)
    usage = meter.usage()
    assert all(count > 0 for count in usage.units.values())
    assert isinstance(meter.model, str)
