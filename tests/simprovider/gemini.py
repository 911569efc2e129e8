"""Gemini: `generateContent`, `streamGenerateContent` as events or as one JSON array, counting, embedding, caching."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from tests.simprovider.conversation import Conversation, Tool, Turn, text_of
from tests.simprovider.render import JSON, Event, Misuse, Rendered, Saying, encode, whole
from tests.simprovider.seal import FOREIGN_BUT_FINE, sign

SSE = "text/event-stream"
STOPS = {"end": "STOP", "tool": "STOP", "length": "MAX_TOKENS", "filter": "SAFETY"}


def read(body: dict[str, Any], model: str, stream: bool) -> Conversation:
    """Raises Misuse for what the real API refuses, changed thought signatures included."""
    inner = body.get("generateContentRequest")
    if isinstance(inner, dict):
        body = inner
    if not body.get("contents"):
        raise Misuse("invalid_request", "* GenerateContentRequest.contents: contents is not specified\n")
    config = body.get("generationConfig") or {}
    thinking = config.get("thinkingConfig") or {}
    declared = [tool for group in body.get("tools") or [] for tool in group.get("functionDeclarations") or []]
    conversation = Conversation(
        model=model,
        stream=stream,
        system=text_of(body.get("systemInstruction") or body.get("system_instruction") or ""),
        tools=[_tool(tool) for tool in declared],
        schema=config.get("responseJsonSchema") or config.get("responseSchema"),
        wants_json=config.get("responseMimeType") == "application/json",
        thinks=bool(thinking.get("includeThoughts")),
        max_output=int(config.get("maxOutputTokens") or 0),
        raw=body,
    )
    conversation.turns = [_turn(content) for content in body["contents"]]
    return conversation.settle()


def _tool(tool: dict[str, Any]) -> Tool:
    schema = tool.get("parametersJsonSchema") or tool.get("parameters") or {}
    return Tool(tool.get("name", ""), schema, tool.get("description") or "")


def _turn(content: dict[str, Any]) -> Turn:
    turn = Turn("assistant" if content.get("role") == "model" else "user")
    words = []
    for part in content.get("parts") or []:
        signature = part.get("thoughtSignature")
        call = part.get("functionCall")
        if signature and not _ours(signature, call):
            raise Misuse("invalid_request", "Thought signature is not valid. Please use the one that was returned.")
        if call:
            turn.calls += 1
        elif answer := part.get("functionResponse"):
            turn.results.append(text_of(answer.get("response") or {}) or str(answer.get("response")))
        elif "text" in part and not part.get("thought"):
            words.append(part["text"])
    turn.text = "\n".join(words)
    return turn


def _ours(signature: str, call: dict[str, Any] | None) -> bool:
    """Foreign placeholders that Gemini documents are fine, as they are for the real API."""
    plain = [base64.b64encode(word.encode()).decode() for word in FOREIGN_BUT_FINE]
    return signature in (*FOREIGN_BUT_FINE, *plain, sign("thought", call["name"] if call else ""))


def usage(saying: Saying, output: int, thoughts: int) -> dict[str, Any]:
    """`promptTokenCount` includes the cached part; thoughts stand beside candidates."""
    n = saying.n
    prompt = n("input", "cache_read", "input_audio", "input_image")
    details = [{"modality": "TEXT", "tokenCount": n("input", "cache_read")}]
    if n("input_audio"):
        details.append({"modality": "AUDIO", "tokenCount": n("input_audio")})
    if n("input_image"):
        details.append({"modality": "IMAGE", "tokenCount": n("input_image")})
    found: dict[str, Any] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": output,
        "totalTokenCount": prompt + output + thoughts,
        "promptTokensDetails": details,
    }
    if n("cache_read"):
        found["cachedContentTokenCount"] = n("cache_read")
        found["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": n("cache_read")}]
    if thoughts:
        found["thoughtsTokenCount"] = thoughts
    if saying.script.service_tier:
        found["trafficType"] = saying.script.service_tier
    return found


def _calls(saying: Saying) -> list[dict[str, Any]]:
    parts = []
    for at, call in enumerate(saying.reply.calls):
        function = {"name": call.name, "args": call.arguments, "id": saying.identity("fc", at)}
        parts.append({"functionCall": function, "thoughtSignature": sign("thought", call.name)})
    return parts


def _answer(saying: Saying, parts: list[dict[str, Any]], output: int, finish: str = "") -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": usage(saying, output, saying.n("output_reasoning")),
        "modelVersion": saying.model,
        "responseId": saying.identity("gem"),
    }


def render(saying: Saying) -> Rendered:
    """One object, or a stream in which every event carries usage and the last one the final figures."""
    if saying.operation == "count_tokens":
        total = saying.n("input", "cache_read")
        return whole({"totalTokens": total, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": total}]})
    reply = saying.reply
    output = saying.n("output")
    finish = STOPS.get(reply.stop, reply.stop)
    thoughts = [{"text": reply.thinking, "thought": True}] if reply.thinking else []
    calls = _calls(saying)
    if not saying.conversation.stream:
        texts = [{"text": reply.text}] if reply.text or not calls else []
        return whole(_answer(saying, thoughts + texts + calls, output, finish))
    answers = _answers(saying, thoughts, calls, finish)
    if saying.conversation.raw.get("__array"):
        return Rendered(JSON, _array(answers))
    return Rendered(SSE, _events(answers, saying.script.pings))


Answer = tuple[dict[str, Any], int, bool]


def _answers(
    saying: Saying, thoughts: list[dict[str, Any]], calls: list[dict[str, Any]], finish: str
) -> Iterator[Answer]:
    reply = saying.reply
    output = saying.n("output")
    if thoughts:
        yield _answer(saying, thoughts, 0), len(reply.thinking), False
    said = 0
    for piece in reply.deltas:
        said += len(piece)
        yield _answer(saying, [{"text": piece}], output * said // max(1, len(reply.text))), len(piece), False
    yield _answer(saying, calls or [{"text": ""}], output, finish), 0, True


def _events(answers: Iterable[Answer], pings: int) -> Iterator[Event]:
    yield from [(b": keepalive\r\n\r\n", 0, False)] * pings
    for answer, chars, last in answers:
        yield b"data: " + encode(answer) + b"\r\n\r\n", chars, last


def _array(answers: Iterable[Answer]) -> Iterator[Event]:
    """Without `alt=sse`: the elements of one JSON array, as they come."""
    before = b"["
    for answer, chars, last in answers:
        yield before + encode(answer), chars, last
        before = b",\r\n"
    yield b"]", 0, False


def error_event(status: int, body: bytes) -> bytes:
    """A native error in the middle of a stream: the bare object, in a write of its own."""
    return body
