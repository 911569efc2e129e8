"""The tokens that a request may have (an upper bound, for holds and for counting) and likely has (for what nobody
counted).

Upper bound: one token per byte of the body. A byte-level tokeniser makes at most one token of a byte, JSON escapes
only add bytes, and the wrapping of a message costs more bytes than tokens. On top comes what providers add
themselves: the hidden prompts of tools. Media are billed by what they show, not by their bytes, so a base64 value
counts as

  image      `image_upper` of the dialect, whatever its size (providers scale images down)
  PDF        one token per base64 character: 3,000 tokens a page at 4 KB a page, the densest that was seen
  audio, video  a quarter of that: 10 to 300 tokens a second at 1 to 2.5 KB a second, the lowest usable rates
  anything else  as text
"""

from __future__ import annotations

import re
from typing import NamedTuple

HIDDEN_PROMPT = 256
HIDDEN_TOOL_PROMPTS = 4096  # a tool-use prompt of 300 to 900 tokens and the definitions of provider-run tools
MEDIA_FROM = 16 * 1024  # shorter values count as text: they blow nothing up
_STRIDE = MEDIA_FROM // 2  # a longer value cannot hide between two samples
_TYPICAL_IMAGE = 1_500

_SAMPLE = re.compile(rb"[A-Za-z0-9+/_=\\-]{64}")
_KEY_BEFORE = re.compile(rb'"(?:data|url|image_url|file_data|fileData|result|bytes)"\s*:\s*"\Z')
_DATA_URL = re.compile(rb"data:[a-zA-Z0-9/+.;=_-]{1,128},")
_IMAGE = (b"iVBOR", b"/9j/", b"\\/9j\\/", b"R0lGOD", b"Qk", b"AAAAHGZ0eXBhdmlm", b"AAAAIGZ0eXBhdmlm")
_MOVING = (b"SUQz", b"//", b"\\/\\/", b"T2dnUw", b"ZkxhQ", b"AAAA", b"GkXfo")
_RIFF, _WEBP = b"UklGR", b"RUJQ"
_PDF = b"JVBERi"


class Size(NamedTuple):
    upper: int
    estimate: int


def measure(body: bytes, *, image_upper: int, bytes_per_token: float, tools: bool) -> Size:
    """Linear in the body with a very small constant: 64 bytes of every 8 KiB are looked at."""
    text, upper, estimate = len(body), 0, 0
    hidden = HIDDEN_TOOL_PROMPTS if tools else HIDDEN_PROMPT
    if text < MEDIA_FROM:
        return Size(text + hidden, int(text / bytes_per_token) + 1)
    for start, end in _media(body):
        length = end - start
        text -= length
        most, likely = _medium(body[start : start + 32], length, image_upper)
        upper += most
        estimate += likely
    return Size(text + upper + hidden, int(text / bytes_per_token) + estimate + 1)


def _medium(head: bytes, length: int, image_upper: int) -> tuple[int, int]:
    if head.startswith(_IMAGE) or (head.startswith(_RIFF) and head[12:16] == _WEBP):
        return min(length, image_upper), min(length, _TYPICAL_IMAGE)
    if head.startswith(_MOVING) or head.startswith(_RIFF):
        return length // 4, length // 32
    if head.startswith(_PDF):
        return length, length // 16
    return length, length // 2


def _media(body: bytes) -> list[tuple[int, int]]:
    """Spans of base64 values of at least MEDIA_FROM characters in fields that carry media."""
    spans: list[tuple[int, int]] = []
    position = _STRIDE
    while position < len(body):
        if _SAMPLE.match(body, position) is None:
            position += _STRIDE
            continue
        opening = body.rfind(b'"', 0, position)
        end = body.find(b'"', position)
        if end < 0:
            break
        start = opening + 1
        url = _DATA_URL.match(body, start)
        if url is not None:
            start = url.end()
        if (
            end - start >= MEDIA_FROM
            and _KEY_BEFORE.search(body, max(0, opening - 64), opening + 1)
            and _pure(body, start, end)
        ):
            spans.append((start, end))
        position = max(position + _STRIDE, end + 1)
    return spans


def _pure(body: bytes, start: int, end: int) -> bool:
    return all(_SAMPLE.match(body, at) for at in range(start, end - 64, _STRIDE))
