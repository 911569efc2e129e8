"""Answers to token counts where the provider has no endpoint for them: the upper bound, never lower than the truth.

The proxy says so in `X-Langwatch-Token-Count: estimate`.
"""

from __future__ import annotations

import msgspec

from dataplane.dialects.dialect import DialectName, RequestFacts

HEADER = ("x-langwatch-token-count", "estimate")


def estimated_count(dialect: DialectName, facts: RequestFacts) -> bytes:
    """The body of a 200 in the dialect's shape."""
    number = facts.input_tokens_upper
    if dialect is DialectName.GEMINI:
        return msgspec.json.encode({"totalTokens": number})
    if dialect is DialectName.ANTHROPIC:
        return msgspec.json.encode({"input_tokens": number})
    return msgspec.json.encode({"object": "response.input_tokens", "input_tokens": number})
