"""What must not be in log lines and ledgers, by its looks: our keys, the providers' keys, bearer values, private keys.

Secrets that travel as `Secret` do not show themselves; this is for those that somebody else put into a text: a client's
model name, an exception of a library. Every pattern is linear: a marker, then one character class.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from dataplane.core.usage import UsageRecord

REDACTED: Final = rb"\1[redacted]"

# A line without any of these (lower case) holds nothing to redact. One expression of plain words, since it walks the
# text once (7 µs for a line of the access log on a busy machine, 19 µs for sixteen searches, 55 µs with both cases).
_MARKERS: Final = re.compile(
    rb"lw_vk_|lw_at_|sk-|aiza|ya29\.|akia|asia|eyj|-----begin|bearer|basic|authorization|api[-_]?key|key="
)

_MARKERS_IN_TEXT: Final = re.compile(_MARKERS.pattern.decode())

_REDACT: Final = re.compile(
    rb"lw_(?:vk_(?:live|test)|at)_(?:(?!lw_)[0-9A-Za-z])+"  # ours; a second one may follow without a break
    rb"|\bsk-[0-9A-Za-z_-]{6,}"  # Anthropic, OpenAI, OpenRouter and most compatible ones
    rb"|AIza[0-9A-Za-z_-]{16,}|\bya29\.[0-9A-Za-z._-]+"  # Google
    rb"|\b(?:AKIA|ASIA)[0-9A-Z]{12,}"  # AWS
    rb"|\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_.-]+"  # JSON web tokens
    # Kept: a header's or a field's name with the quotes and separators around it. Not kept: its value.
    rb"|((?i:\b(?:(?:x-|x-goog-)?api[-_]?key|authorization)(?:\\?[\"'])?\s{0,4}[:=,]\s{0,4}(?:b?\\?[\"'])?"
    rb"(?:(?:bearer|basic)\s{1,4})?)|(?i:\b(?:bearer|basic)\s{1,4})|[?&]key=)(?!-----BEGIN )[^\s\"'\\,;&}]+"
    rb"|-----BEGIN (?:[^\"\\]|\\.)*"  # to the end of the JSON string that it stands in
)

# What all credentials of this product start with, and one of them up to where its secret begins.
OURS: Final = b"lw_"
_OURS: Final = re.compile(r"(lw_(?:vk_(?:live|test)|at)_[0-9A-Za-z]{10})(?:(?!lw_)[0-9A-Za-z])+")


def suspicious(data: bytes) -> bool:
    """Whether there may be anything to redact."""
    return _MARKERS.search(data.lower()) is not None


def redact(line: bytes) -> bytes:
    """The encoded line without what looks like a secret."""
    return _REDACT.sub(REDACTED, line) if suspicious(line) else line


def shorten(text: str) -> str:
    """The text with credentials of ours cut down to what may be shown of them: their prefix and public id."""
    return _OURS.sub(r"\1…", text)


# What clients and providers write into a record, as far as log lines and spans repeat it. The first kind comes again
# and again; the second is another one with every request.
_often: Final = attrgetter(
    *("dialect", "operation", "refusal_code", "client", "client_version", "model_requested", "model"),
    *("model_reported", "tags"),
)
_once: Final = attrgetter("session", "provider_request_id", "metadata", "end_user_id")
REMEMBERED_LENGTH: Final = 256


def spotless(record: UsageRecord) -> bool:
    """Whether a record's texts hold nothing to redact: for one that does, see `scrubbed`."""
    seldom = "\n".join(_once(record))
    if _MARKERS_IN_TEXT.search(seldom.lower()) is not None:
        return False
    remembers = len(record.model_requested) < REMEMBERED_LENGTH
    return (_spotless if remembers else _spotless.__wrapped__)(*_often(record))


@lru_cache(maxsize=1024)
def _spotless(*texts: str | tuple[str, ...]) -> bool:
    whole = "\n".join(["\n".join(text) if isinstance(text, tuple) else text for text in texts])
    return _MARKERS_IN_TEXT.search(whole.lower()) is None


def scrubbed(record: UsageRecord) -> UsageRecord:
    """A copy without what looks like a secret in any of its texts."""
    texts: dict[str, Any] = {
        field.name: _without_secrets(value)
        for field in fields(record)
        if isinstance(value := getattr(record, field.name), str) and not isinstance(value, StrEnum)
    }
    return replace(record, **texts, tags=tuple(map(_without_secrets, record.tags)))


def _without_secrets(text: str) -> str:
    return redact(text.encode("utf-8", "replace")).decode()
