"""Which provider's API a path belongs to. Any prefix may stand before it: one simulator can be many accounts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.simprovider.wire import Request

GEMINI = re.compile(r"^(.{0,200}?)/(?:v1beta|v1alpha|v1)?/?models/([^/:]{1,200}):(\w{1,40})$")
GEMINI_OTHER = re.compile(r"^(.{0,200}?)/(?:v1beta|v1alpha)/(models|cachedContents)(?:/([^/]{1,200}))?$")
AZURE = re.compile(r"^(.{0,200}?)/openai/(?:deployments/([^/]{1,200})|v1)/(.{1,200})$")
PLAIN = re.compile(r"^(.{0,200}?)/v1/(.{1,200})$")

GEMINI_VERBS = {
    "generateContent": "generate_content",
    "streamGenerateContent": "generate_content",
    "countTokens": "count_tokens",
    "embedContent": "embed_content",
    "batchEmbedContents": "embed_content",
}
OPENAI = {
    "chat/completions": ("openai_chat", "chat"),
    "responses": ("openai_responses", "responses"),
    "responses/compact": ("openai_responses", "responses_compact"),
    "responses/input_tokens": ("openai_responses", "responses_input_tokens"),
    "embeddings": ("openai_chat", "embeddings"),
}
ANTHROPIC = {"messages": "messages", "messages/count_tokens": "count_tokens"}


@dataclass(frozen=True, slots=True)
class Route:
    """`item` is an id or verb at the end of the path; `model` is set where the path names it."""

    vendor: str
    dialect: str
    operation: str
    prefix: str = ""
    model: str = ""
    item: str = ""


def find(request: Request) -> Route | None:
    """None: a path that no provider serves."""
    path = request.path
    if found := GEMINI.match(path):
        operation = GEMINI_VERBS.get(found[3])
        return Route("gemini", "gemini", operation, found[1], found[2], found[3]) if operation else None
    if found := GEMINI_OTHER.match(path):
        operation = "models" if found[2] == "models" else "cached_contents"
        return Route("gemini", "gemini", operation, found[1], item=found[3] or "")
    if found := AZURE.match(path):
        return _openai("azure", found[3], found[1], found[2] or "")
    if found := PLAIN.match(path):
        tail, prefix = found[2], found[1]
        if tail in ANTHROPIC:
            return Route("anthropic", "anthropic_messages", ANTHROPIC[tail], prefix)
        anthropic = request.header("anthropic-version") or request.header("x-api-key")
        if anthropic and (tail == "models" or tail.startswith("models/")):
            return Route("anthropic", "anthropic_messages", "models", prefix, item=tail[7:])
        return _openai("openai", tail, prefix, "")
    return None


def _openai(vendor: str, tail: str, prefix: str, model: str) -> Route | None:
    if tail in OPENAI:
        dialect, operation = OPENAI[tail]
        return Route(vendor, dialect, operation, prefix, model)
    if tail == "models" or tail.startswith("models/"):
        return Route(vendor, "openai_chat", "models", prefix, item=tail[7:])
    if tail.startswith("responses/"):
        return Route(vendor, "openai_responses", "responses_stored", prefix, item=tail.split("/")[1])
    return None
