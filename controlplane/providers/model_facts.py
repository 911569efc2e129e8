"""What pods are told of the price library's models beside prices: since when each is sold, and which are not offered.

The library has no dates, but dated names, most of them among those of other sellers: OpenRouter's
`anthropic/claude-sonnet-5.5-20260928`, Bedrock's `anthropic.claude-haiku-4-5-20251001-v1:0`. The earliest dated name
that means a model is its date. Models that nobody gives a dated name stand in a table here, as do those that their
sellers have withdrawn or are about to; both as models.dev knew them in October 2026. A model without a date is listed
last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from dataplane.core.catalogue import Use, released_ms, use_of

if TYPE_CHECKING:
    from genai_prices import types as library

_RELEASED: Final[Mapping[str, str]] = {
    "claude-fable-5": "2026-06-09",
    "claude-fable-5-1": "2026-09-02",
    "gemini-2.5-flash": "2025-06-17",
    "gemini-2.5-flash-lite": "2025-07-22",
    "gemini-2.5-pro": "2025-06-17",
    "gemini-3.1-flash-lite": "2026-03-03",
    "gemini-embedding-001": "2025-07-14",
    "gpt-5.3-codex": "2026-02-05",
    "gpt-5.6-luna": "2026-07-09",
    "gpt-5.6-sol": "2026-07-09",
    "gpt-5.6-terra": "2026-07-09",
    "gpt-6-astra": "2026-09-04",
    "gpt-6-luna": "2026-09-22",
    "gpt-6-sol": "2026-09-22",
    "gpt-6.1-sol": "2026-09-29",
    "gpt-6.1-terra": "2026-10-26",
    "text-embedding-3-large": "2024-01-25",
    "text-embedding-3-small": "2024-01-25",
}
_WITHDRAWN: Final = frozenset(
    {
        *("claude-2", "claude-3-5-haiku-latest", "claude-3-5-sonnet", "claude-3-7-sonnet-latest", "claude-3-haiku"),
        *("claude-3-opus-latest", "claude-3-sonnet", "claude-opus-4-0", "claude-opus-4-1", "claude-sonnet-4-0"),
        *("chatgpt-4o-latest", "codex-mini", "gpt-3.5-0301", "gpt-3.5-turbo", "gpt-3.5-turbo-0613"),
        *("gpt-3.5-turbo-1106", "gpt-3.5-turbo-16k", "gpt-4", "gpt-4-32k", "gpt-4-turbo", "gpt-4-vision-preview"),
        *("gpt-4.1-nano", "gpt-4.5-preview", "gpt-4o-2024-05-13", "gpt-5.1-codex-mini", "gpt-5.3"),
        *("o1", "o1-mini", "o1-preview", "o1-pro", "o3-deep-research", "o3-mini", "o4-mini", "o4-mini-deep-research"),
        *("gemini-1.0-pro-vision-001", "gemini-1.5-flash", "gemini-1.5-pro", "gemini-flash-1.5", "gemini-flash-1.5-8b"),
        *("gemini-pro", "gemini-pro-1.5", "gemma-2-27b-it", "gemma-3", "gemma-3n"),
        *("gpt-oss-120b", "gpt-oss-20b"),  # given away; their maker sells no access to them
    }
)
_PLAIN_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_SELLER: Final = re.compile(r".*/|(?:[a-z-]+\.)*(?:anthropic|openai)\.")


def released(model: library.ModelInfo, seller: library.Provider) -> int:
    """Unix milliseconds of the first day on which it was sold, as far as is known; 0: it is not. `seller` lists it."""
    own = _RELEASED.get(model.id)
    if own is not None:
        return released_ms(f"-{own}")
    return _dates(seller.id).get(model.id, 0)


def is_offered(model: library.ModelInfo) -> bool:
    """Whether lists and refusals name it. What is not offered is priced and served all the same to whoever asks."""
    return not (
        model.deprecated
        or model.id in _WITHDRAWN
        or (model.description or "").startswith("Retired")
        or _PLAIN_NAME.fullmatch(model.id.lower()) is None  # `gpt-4o:extended`, `gpt-4o-mini-2024-07-18.ft-`
        or use_of(model.id) is Use.OTHER
    )


@cache
def _dates(seller_id: str) -> Mapping[str, int]:
    """The earliest date of each of a seller's models."""
    from genai_prices.data import providers  # 1.6 MB of code

    seller = next(provider for provider in providers if provider.id == seller_id)
    dates: dict[str, int] = {}
    for name, at in _dated_names().items():
        model_id = next((model.id for model in seller.models if model.match.is_match(name)), None)
        if model_id is not None:
            dates[model_id] = min(at, dates.get(model_id, at))
    return dates


@cache
def _dated_names() -> Mapping[str, int]:
    """Every dated name in the library, without its seller, also with dashes for the dots of its version."""
    from genai_prices.data import providers

    dates: dict[str, int] = {}
    for provider in providers:
        for model in provider.models:
            for text in (model.id, *_texts(model.match)):
                at = released_ms(text)
                if at:
                    name = _SELLER.sub("", text.lower())
                    dates[name] = dates[name.replace(".", "-")] = at
    return dates


def _texts(clause: Any) -> Iterator[str]:
    """The names, or parts of names, in a clause; expressions have none."""
    parts = getattr(clause, "or_", None) or getattr(clause, "and_", None)
    if parts is not None:
        for part in parts:
            yield from _texts(part)
    elif type(clause).__name__ != "ClauseRegex":
        yield from vars(clause).values()
