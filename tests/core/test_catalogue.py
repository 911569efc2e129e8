"""What names of models tell."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.catalogue import Use, released_ms, use_of


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("claude-haiku-4-5-20251001", "2025-10-01"),
        ("claude-sonnet-4-5@20250929", "2025-09-29"),
        ("gpt-5-mini-2025-08-07", "2025-08-07"),
        ("anthropic.claude-opus-4-1-20250805-v1:0", "2025-08-05"),
        ("ft:gpt-4o-mini-2024-07-18:acme", "2024-07-18"),
    ],
)
def test_a_date_in_a_name_is_the_first_day_of_its_model(name, day):
    assert released_ms(name) == int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()) * 1000


@pytest.mark.parametrize(
    "name",
    [
        "claude-sonnet-5-5",
        "gpt-4-0613",
        "gpt-5-2025-13-07",
        "x-20250231",
        "x-2025-0807",
        "mistral-large-2411",
        "x-202510011",
    ],
)
def test_what_is_no_date_is_none(name):
    assert released_ms(name) == 0


@pytest.mark.parametrize(
    ("use", "names"),
    [
        (Use.CHAT, ["claude-sonnet-5-5", "gpt-6.1-sol", "o3", "gemini-4-argon", "meta-llama/Llama-3.3-70B-Instruct",
                    "claude-instant-1", "gpt-chat-latest", "team-default", ""]),
        (Use.EMBEDDINGS, ["text-embedding-3-large", "text-embedding-ada-002", "gemini-embedding-2", "mistral-embed",
                          "backup/text-embedding-3-small"]),
        (Use.OTHER, ["gpt-4o-mini-tts", "tts-1-hd", "whisper-1", "gpt-realtime-2", "gpt-image-2", "gpt-audio",
                     "gpt-4o-transcribe", "moderation", "davinci-002", "gpt-3.5-turbo-instruct", "gemini-3.8-live",
                     "gemini-2.5-flash-image", "gemini-nano-banana-2.1", "gemini-omni-1.1-flash", "dall-e-3",
                     "computer-use-preview", "openai/gpt-image-2", "GPT-IMAGE-2"]),
    ],
)  # fmt: skip
def test_a_name_tells_what_its_model_is_for(use, names):
    assert {name: use_of(name) for name in names} == dict.fromkeys(names, use)


@given(st.text())
def test_no_name_is_too_strange(name):
    assert use_of(name) in Use
    assert released_ms(name) >= 0
