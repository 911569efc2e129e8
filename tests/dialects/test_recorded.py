"""Recorded answers of providers, metered as an extractor written for this test alone says: whole, and at any cut.

They are not in the repository: AIGATEWAY_TEST_RECORDED names the folder, with one folder per vendor in it;
`*.json` is a whole answer, `*.chunks.txt` a stream, one event's JSON a line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dataplane.core.usage import UsageClass, UsageSource
from dataplane.dialects.dialect import Dialect, Operation
from dataplane.dialects.registry import ANTHROPIC, CHAT, GEMINI, RESPONSES
from tests.dialects.metering import metered, result

FOLDER = os.environ.get("AIGATEWAY_TEST_RECORDED", "")
OPERATIONS = {
    ANTHROPIC: Operation.MESSAGES,
    RESPONSES: Operation.RESPONSES,
    CHAT: Operation.CHAT,
    GEMINI: Operation.STREAM_GENERATE_CONTENT,
}
SMALL = 8 * 1024  # below it a stream is cut at every byte
AROUND = 8
CALLS = {UsageClass.WEB_SEARCH, UsageClass.MAPS, UsageClass.CONTAINER, UsageClass.TOOL_CALL}

Objects = list[dict[str, Any]]


class Bill(NamedTuple):
    """What an answer says of itself, in the words of no dialect."""

    tokens: dict[str, int]
    model: str
    tier: str
    others: tuple[tuple[str, str, int, int], ...] = ()  # model, kind, input, output


def recordings() -> list[Path]:
    """But those of a framing of its own."""
    paths = Path(FOLDER).glob("*/*") if FOLDER else ()
    return sorted(path for path in paths if path.suffix in (".json", ".txt") and path.parent.name != "amazon-bedrock")


def objects(path: Path) -> Objects:
    """Of the first answer in it; of what a recorder damaged, what is whole."""
    text = path.read_text()
    said: Objects = []
    for piece in [text] if path.suffix == ".json" else text.splitlines():
        try:
            each = json.loads(piece)
        except ValueError:
            continue
        if isinstance(each, dict):
            said.append(each)
            if each.get("type") == "message_stop":
                break
    return said


def dialect_of(said: Objects) -> Dialect | None:
    for each in said:
        kind = str(each.get("type", ""))
        if kind in ("message_start", "message"):
            return ANTHROPIC
        if kind.startswith("response.") or each.get("object") == "response" or ("output" in each and "usage" in each):
            return RESPONSES
        if "candidates" in each or "usageMetadata" in each:
            return GEMINI
        if "choices" in each:
            return CHAT
    return None


# the extractor


def anthropic_bill(said: Objects) -> Bill | None:
    usages = [(each.get("message") or each).get("usage") or {} for each in said]
    if not any("output_tokens" in usage for usage in usages):
        return None
    usage: dict[str, Any] = {}
    for told in usages:
        usage.update({name: value for name, value in told.items() if value or name not in usage})
    model = next((each.get("message") or each)["model"] for each in said if (each.get("message") or each).get("model"))
    tokens = anthropic_tokens(usage)
    others = []
    for step in usage.get("iterations") or []:
        if step.get("model") not in (None, model):
            own = anthropic_tokens(step)
            incoming = sum(number for name, number in own.items() if not name.startswith("output"))
            others.append((step["model"], step["type"], incoming, own["output"]))
        elif step["type"] == "compaction":
            for name, number in anthropic_tokens(step).items():
                tokens[name] += number
    return Bill(tokens, model, usage.get("service_tier") or "", tuple(others))


def anthropic_tokens(usage: dict[str, Any]) -> dict[str, int]:
    made = usage.get("cache_creation") or {}
    short, long = made.get("ephemeral_5m_input_tokens", 0), made.get("ephemeral_1h_input_tokens", 0)
    written = usage.get("cache_creation_input_tokens") or 0
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0)
    return {
        "input": usage.get("input_tokens", 0),
        "cache_read": usage.get("cache_read_input_tokens") or 0,
        "cache_write_5m": short,
        "cache_write_1h": long,
        "cache_write": max(written - short - long, 0),
        "output": usage.get("output_tokens", 0) - thinking,
        "output_reasoning": thinking,
    }


def openai_tokens(incoming: int, outgoing: int, cached: int, reasoning: int, total: int) -> dict[str, int]:
    beside = total - incoming - outgoing
    return {
        "input": incoming - cached,
        "cache_read": cached,
        "output": outgoing if beside > 0 else outgoing - reasoning,
        "output_reasoning": beside if beside > 0 else reasoning,
    }


def responses_bill(said: Objects) -> Bill | None:
    answers = [each.get("response") or each for each in said if each.get("response") or "output" in each]
    billed = [answer for answer in answers if answer.get("usage")]
    if not billed:
        return None
    last, usage = billed[-1], billed[-1]["usage"]
    cached = (usage.get("input_tokens_details") or {}).get("cached_tokens", 0)
    reasoning = (usage.get("output_tokens_details") or {}).get("reasoning_tokens", 0)
    written = (usage.get("input_tokens_details") or {}).get("cache_write_tokens", 0)
    tokens = openai_tokens(
        usage["input_tokens"], usage["output_tokens"], cached, reasoning, usage.get("total_tokens", 0)
    )
    tokens["input"] -= written
    return Bill({**tokens, "cache_write": written}, last.get("model", ""), last.get("service_tier") or "")


def chat_bill(said: Objects) -> Bill | None:
    usages = [each["usage"] for each in said if each.get("usage")]
    if not usages:
        return None
    usage = usages[-1]
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or usage.get("cached_tokens") or 0
    cached = cached or usage.get("prompt_cache_hit_tokens", 0)
    details = usage.get("completion_tokens_details") or {}
    tokens = openai_tokens(
        usage["prompt_tokens"],
        usage["completion_tokens"],
        cached,
        details.get("reasoning_tokens") or 0,
        usage.get("total_tokens", 0),
    )
    tiers = [each["service_tier"] for each in said if each.get("service_tier")]
    return Bill(tokens, [each["model"] for each in said if each.get("model")][-1], tiers[-1] if tiers else "")


def gemini_bill(said: Objects) -> Bill | None:
    usages = [each["usageMetadata"] for each in said if each.get("usageMetadata")]
    if not usages:
        return None
    usage = usages[-1]
    cached = usage.get("cachedContentTokenCount", 0)
    images = [each["tokenCount"] for each in usage.get("candidatesTokensDetails") or [] if each["modality"] == "IMAGE"]
    incoming = [each["tokenCount"] for each in usage.get("promptTokensDetails") or [] if each["modality"] == "IMAGE"]
    tokens = {
        "input": usage["promptTokenCount"] - cached - sum(incoming) + usage.get("toolUsePromptTokenCount", 0),
        "input_image": sum(incoming),
        "cache_read": cached,
        "output": usage.get("candidatesTokenCount", 0) - sum(images),
        "output_image": sum(images),
        "output_reasoning": usage.get("thoughtsTokenCount", 0),
    }
    models = [each["modelVersion"] for each in said if each.get("modelVersion")]
    return Bill(tokens, models[-1] if models else "", str(usage.get("serviceTier") or "").lower())


BILLS: dict[Dialect, Callable[[Objects], Bill | None]] = {
    ANTHROPIC: anthropic_bill,
    RESPONSES: responses_bill,
    CHAT: chat_bill,
    GEMINI: gemini_bill,
}


# the stream as a provider would send it


def framed(dialect: Dialect, said: Objects) -> list[bytes]:
    events = []
    for each in said:
        data = json.dumps(each, ensure_ascii=False, separators=(",", ":")).encode()
        name = f"event: {each['type']}\n".encode() if dialect in (ANTHROPIC, RESPONSES) and "type" in each else b""
        events.append(name + b"data: " + data + b"\n\n")
    return [*events, b"data: [DONE]\n\n"] if dialect is CHAT else events


def cuts(events: list[bytes]) -> Iterator[list[bytes]]:
    text = b"".join(events)
    if len(text) < SMALL:
        for at in range(1, len(text)):
            yield [text[:at], text[at:]]
    ends = [0]
    for event in events:
        ends.append(ends[-1] + len(event))
    for offset in range(-AROUND, AROUND + 1):
        places = sorted({min(max(end + offset, 0), len(text)) for end in ends} | {0, len(text)})
        yield [text[start:end] for start, end in pairwise(places)]


def check(bill: Bill, meter: Any) -> None:
    usage = meter.usage()
    tokens = {unit.value: number for unit, number in usage.units.items() if unit not in CALLS}
    assert usage.source is UsageSource.PROVIDER, usage
    assert tokens == {name: number for name, number in bill.tokens.items() if number}
    assert meter.model == bill.model
    assert usage.service_tier == bill.tier
    parts = []
    for part in usage.parts:
        outgoing = part.units.get(UsageClass.OUTPUT, 0)
        parts.append((part.model, part.kind, sum(part.units.values()) - outgoing, outgoing))
    if bill.others or (usage.parts and meter.tally.__class__.__name__ == "AnthropicTally"):
        assert tuple(parts) == bill.others


@pytest.mark.skipif(not FOLDER, reason="AIGATEWAY_TEST_RECORDED names no folder of recorded answers")
def test_there_are_recordings_of_every_dialect():
    kinds = [dialect_of(objects(path)) for path in recordings()]
    for dialect in BILLS:
        assert kinds.count(dialect) >= 10, dialect.name


@pytest.mark.skipif(not FOLDER, reason="AIGATEWAY_TEST_RECORDED names no folder of recorded answers")
@pytest.mark.parametrize("path", recordings(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_recorded_answer_is_metered_as_it_says_itself(path: Path):
    said = objects(path)
    dialect = dialect_of(said)
    if dialect is None:
        pytest.skip("no answer in one of the four dialects")
    bill, operation = BILLS[dialect](said), OPERATIONS[dialect]
    if path.suffix == ".json":
        operation = Operation.GENERATE_CONTENT if dialect is GEMINI else operation
        body = path.read_bytes()
        meter = metered(dialect, operation, [body], streaming=False)
        pieces = [body[at : at + 1] for at in range(len(body))] if len(body) < SMALL else [body[:99], body[99:]]
        assert result(metered(dialect, operation, pieces, streaming=False)) == result(meter)
    else:
        events = framed(dialect, said)
        meter = metered(dialect, operation, [b"".join(events)])
        for chunks in cuts(events):
            assert result(metered(dialect, operation, chunks)) == result(meter)
    if bill is None or not any(bill.tokens.values()):
        assert meter.usage().source is not UsageSource.PROVIDER
        return
    check(bill, meter)
