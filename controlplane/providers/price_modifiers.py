"""What providers publish and the price library does not say: factors for a place, a tier or a speed.

A factor is per cent of the list price of every token; calls of tools cost the same everywhere. Each has its public
source, and the day on which it said so. What the library has a price for itself is the library's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dataplane.core.globs import compiled


@dataclass(frozen=True, slots=True)
class Modifier:
    """`models`: globs on the names of a family's models; `percent`: a word of the answer's (`.` and the end of a host,
    for a place) → per cent."""

    family: str
    models: tuple[str, ...]
    percent: Mapping[str, int]
    source: str
    read_on: str  # ISO date


_ANTHROPIC: Final = "https://platform.claude.com/docs/en/about-claude/pricing"
_OPENAI: Final = "https://developers.openai.com/api/docs/pricing"
_FAST: Final = "https://platform.claude.com/docs/en/build-with-claude/fast-mode"
_ULTRAFAST: Final = "https://developers.openai.com/api/docs/guides/ultrafast-mode"
_GOOGLE: Final = "https://ai.google.dev/gemini-api/docs/pricing"
_READ_ON: Final = "2026-12-01"

# Models of the 4.6 generation and later; earlier ones answer `not_available`.
_SINCE_4_6: Final = (
    "claude-*",
    *("!claude-2*", "!claude-v1*", "!claude-instant*", "!claude-3*"),
    *("!claude-*-4-0*", "!claude-*-4-1*", "!claude-*-4-5*", "!claude-*-4", "!claude-*-4-20*"),
)
# Speech, live audio and embeddings have no such tiers, or prices of their own.
_GEMINI: Final = ("gemini-2.5*", "gemini-3*", "gemini-4*", "!*-tts*", "!*-live*", "!*embedding*")

PLACES: Final = (
    Modifier("anthropic", _SINCE_4_6, {"us": 110}, _ANTHROPIC, _READ_ON),
    Modifier("openai", ("gpt-5.4*", "gpt-5.5*", "gpt-5.6*", "gpt-6*"), {".api.openai.com": 110}, _OPENAI, _READ_ON),
)  # fmt: skip
TIERS: Final = (
    Modifier("openai", ("gpt-6-astra*", "gpt-6.1-sol*", "gpt-5.6-sol*"), {"ultrafast": 600}, _ULTRAFAST, _READ_ON),
    Modifier("google", _GEMINI, {"flex": 50, "priority": 180}, _GOOGLE, _READ_ON),
    # What of a commitment is not the list price is the organization's to say.
    Modifier("anthropic", ("claude-*",), {"batch": 50, "priority": 100}, _ANTHROPIC, _READ_ON),
)
SPEEDS: Final = (
    # Since taken back by the provider, and never in the library.
    Modifier("anthropic", ("claude-opus-4-6*", "claude-opus-4-7*"), {"fast": 600}, _FAST, _READ_ON),
)


def percents(modifiers: tuple[Modifier, ...], family: str, model: str) -> dict[str, int]:
    """Those of one model; the first that names a word decides."""
    factors: dict[str, int] = {}
    for modifier in modifiers:
        if modifier.family == family and _means(modifier.models, model):
            factors = dict(modifier.percent) | factors
    return factors


def _means(patterns: tuple[str, ...], model: str) -> bool:
    included = compiled(tuple(pattern for pattern in patterns if not pattern.startswith("!")))
    excluded = compiled(tuple(pattern[1:] for pattern in patterns if pattern.startswith("!")))
    return included.matches(model) and not excluded.matches(model)
