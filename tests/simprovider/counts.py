"""Counts tokens the way the simulator bills them: a token is four characters, cached prefixes are remembered."""

from __future__ import annotations

import json
from collections import OrderedDict

from tests.simprovider.brain import Reply
from tests.simprovider.conversation import Conversation
from tests.simprovider.script import Script

REMEMBERED = 4_096
SMALLEST_CACHED = 1_024


class Cache:
    """Prefixes seen before: bounded, the oldest forgotten."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, int] = OrderedDict()

    def tokens(self, identity: str) -> int:
        return self._seen.get(identity, 0)

    def keep(self, identity: str, tokens: int) -> None:
        self._seen[identity] = tokens
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def clear(self) -> None:
        self._seen.clear()


def count(
    conversation: Conversation, reply: Reply, script: Script, vendor: str, cache: Cache, body_size: int
) -> dict[str, int]:
    """Units per usage class, zero ones left out; exactly the script's own figures when it has some."""
    if script.usage:
        return {unit: number for unit, number in script.usage.items() if number}
    total = max(1, body_size // 4)
    calls = sum(len(call.input or json.dumps(call.arguments)) + len(call.name) for call in reply.calls)
    output = max(1, (len(reply.text) + calls + 3) // 4)
    thought = (len(reply.thinking) + 3) // 4
    if vendor == "anthropic":
        counts = {"input": total, "output": output + thought}
        _anthropic_cache(conversation, counts, cache)
    else:
        counts = {"input": total, "output": output, "output_reasoning": thought}
        _prefix_cache(conversation, counts, cache)
    return {unit: number for unit, number in counts.items() if number}


def _anthropic_cache(conversation: Conversation, counts: dict[str, int], cache: Cache) -> None:
    """The longest known prefix is read; the rest up to the last breakpoint is written."""
    total = counts["input"]
    read = written = 0
    for mark in conversation.marks:
        tokens = min(mark.chars // 4, total)
        if cache.tokens(mark.identity):
            read = tokens
        elif tokens > read + written:
            unit = "cache_write_1h" if mark.ttl == "1h" else "cache_write_5m"
            counts[unit] = counts.get(unit, 0) + tokens - read - written
            written = tokens - read
        cache.keep(mark.identity, tokens)
    counts["cache_read"] = read
    counts["input"] = total - read - written


def _prefix_cache(conversation: Conversation, counts: dict[str, int], cache: Cache) -> None:
    """OpenAI and Gemini: by cache key or named cache, in steps of 128 tokens, from 1,024 on."""
    key = conversation.raw.get("prompt_cache_key") or conversation.raw.get("cachedContent")
    if not isinstance(key, str):
        return
    known = min(cache.tokens(key), counts["input"] - 1) // 128 * 128
    cache.keep(key, counts["input"])
    if known >= SMALLEST_CACHED:
        counts["cache_read"] = known
        counts["input"] -= known
