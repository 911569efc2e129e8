"""How much a tool takes that a request declares: the memory of its container, the tokens of an image, at the most.

Source: OpenAI's guides to the code interpreter and to image generation ("Cost and latency"), read on 2026-12-01; of
sizes that they do not list, by the area.
"""

from __future__ import annotations

import re
from typing import Final

IMAGE_MODEL: Final = "gpt-image-1"  # that the tool takes where the request names none
# Gigabytes of a container that is made for the request; other words: the dearest.
MEMORY: Final = {"": 1, "1g": 1, "4g": 4, "16g": 16, "64g": 64}
_TOKENS: Final = {"low": (272, 408), "medium": (1_056, 1_584), "high": (4_160, 6_240)}  # square; upright or lying
_SQUARE, _OBLONG = 1024 * 1024, 1024 * 1536
_PARTIAL: Final = 100  # of each image that is shown before it is done
_MOST_PARTIAL: Final = 3
_SIZE: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
MOST_TOKENS: Final = 200_000


def gigabytes(container: object) -> int:
    """Of memory, as a tool asks for it. One that was made before does not say: it counts as the usual one."""
    if not isinstance(container, dict):
        return 1
    limit = container.get("memory_limit") or ""
    return MEMORY.get(limit if isinstance(limit, str) else "?", max(MEMORY.values()))


def image_tokens(size: object, quality: object, partial_images: object) -> int:
    """`auto`, and what is none of the words: the most that they may mean."""
    square, oblong = _TOKENS.get(quality if isinstance(quality, str) else "", _TOKENS["high"])
    tokens = oblong
    measures = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if measures is not None:
        area = int(measures[1]) * int(measures[2])
        tokens = square if area <= _SQUARE else -(-oblong * area // _OBLONG)
    shown = partial_images if type(partial_images) is int else 0
    return min(tokens + _PARTIAL * min(max(shown, 0), _MOST_PARTIAL), MOST_TOKENS)
