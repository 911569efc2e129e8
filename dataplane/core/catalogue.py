"""What a model's name tells: what the model is for, and since when it is sold.

Only lists and words are made from it; no request is refused for it. A name that tells nothing is a chat model's,
without a date.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final


class Use(StrEnum):
    """What a model can be asked for here."""

    CHAT = "chat"  # messages, responses, chat completions, generateContent
    EMBEDDINGS = "embeddings"
    OTHER = "other"  # speech, pictures, moderation, plain completion: no route serves them


_WORD: Final = re.compile(r"[-.:@_]")
_OTHER: Final = frozenset(
    {
        *("audio", "live", "realtime", "speech", "streaming", "transcribe", "translate", "tts", "whisper"),
        *("banana", "dall", "image", "imagen", "sora", "veo", "video"),
        *("ada", "babbage", "curie", "davinci"),
        *("aqa", "computer", "moderation", "rerank", "robotics", "safeguard"),
    }
)
_ALSO_OTHER: Final = ("gpt-3.5-turbo-instruct", "gemini-omni")
_DATE: Final = re.compile(r"[-@](20\d\d)(-?)(\d\d)\2(\d\d)(?=$|[:@-])")


def use_of(name: str) -> Use:
    """By the words of the name; a provider's name in front of a slash does not count."""
    bare = name.rpartition("/")[2].lower()
    words = _WORD.split(bare)
    if "embedding" in bare or "embed" in words:
        return Use.EMBEDDINGS
    if bare.startswith(_ALSO_OTHER) or not _OTHER.isdisjoint(words):
        return Use.OTHER
    return Use.CHAT


def released_ms(name: str) -> int:
    """Midnight (UTC, Unix milliseconds) of the date in the name (`-20251001`, `-2025-08-07`, `@20250929`); 0: none."""
    match = _DATE.search(name)
    if match is None:
        return 0
    try:
        day = datetime(int(match[1]), int(match[3]), int(match[4]), tzinfo=UTC)
    except ValueError:
        return 0
    return int(day.timestamp()) * 1000
