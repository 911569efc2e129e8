from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from dataplane.dialects.size import HIDDEN_PROMPT, HIDDEN_TOOL_PROMPTS, MEDIA_FROM, measure

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4_000).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(range(256)) * 400).decode()
PDF = base64.b64encode(b"%PDF-1.7\n" + bytes(range(256)) * 400).decode()
MP3 = base64.b64encode(b"ID3\x04" + bytes(range(256)) * 400).decode()
WEBP = base64.b64encode(b"RIFF\x00\x10\x00\x00WEBPVP8 " + bytes(range(256)) * 400).decode()


def size(value: object, tools: bool = False):
    body = json.dumps(value).encode()
    return len(body), measure(body, image_upper=5_000, bytes_per_token=4.0, tools=tools)


@given(st.lists(st.text(max_size=300), max_size=20))
def test_text_counts_at_least_one_token_per_byte_that_a_tokeniser_could_see(texts):
    _, measured = size({"messages": texts})
    assert measured.upper >= sum(len(text.encode()) for text in texts) + HIDDEN_PROMPT


def test_an_image_counts_as_an_image_in_every_place_that_carries_one():
    for value in (
        {"type": "base64", "media_type": "image/png", "data": PNG},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "input_image", "image_url": f"data:image/jpeg;base64,{JPEG}"},
        {"inlineData": {"mimeType": "image/webp", "data": WEBP}},
    ):
        length, measured = size({"messages": [{"role": "user", "content": [value, value]}]})
        assert length > 250_000
        assert 2 * 5_000 < measured.upper < 11_000
        assert measured.estimate < 4_000


def test_a_document_and_sound_are_bounded_by_their_bytes():
    length, measured = size({"data": PDF})
    assert len(PDF) <= measured.upper <= length + HIDDEN_PROMPT
    _, measured = size({"data": MP3})
    assert len(MP3) // 4 <= measured.upper < len(MP3) // 2


def test_base64_in_a_text_is_tokenised_like_text():
    for value in ({"text": PNG}, {"content": f"see data:image/png;base64,{PNG} here"}, {"data": f"<img src='{PNG}'>"}):
        length, measured = size({"messages": [value]})
        assert measured.upper >= length


def test_a_small_image_counts_as_text_at_most():
    small = PNG[: MEDIA_FROM - 1]
    length, measured = size({"data": small})
    assert measured.upper == length + HIDDEN_PROMPT


def test_the_hidden_prompts_of_tools_are_in():
    _, without = size({})
    _, with_tools = size({}, tools=True)
    assert with_tools.upper - without.upper == HIDDEN_TOOL_PROMPTS - HIDDEN_PROMPT


@given(st.integers(0, 9_000), st.integers(0, 300))
def test_an_image_is_found_wherever_it_begins(before, after):
    body = json.dumps({"a": "x" * before, "data": JPEG, "b": "y" * after}).encode()
    measured = measure(body, image_upper=5_000, bytes_per_token=4.0, tools=False)
    assert measured.upper == len(body) - len(JPEG) + 5_000 + HIDDEN_PROMPT
