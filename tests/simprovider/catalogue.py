"""Model lists, embeddings, cached contents and stored responses: the small routes beside the four dialects."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Any

from tests.simprovider.render import Misuse, Rendered, whole
from tests.simprovider.routes import Route

ANTHROPIC = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-sonnet-4-5", "claude-haiku-4-5")
OPENAI = ("gpt-6.1-sol", "gpt-5.5", "gpt-5-codex", "gpt-4o", "gpt-4o-mini", "o4-mini", "text-embedding-3-small")
GEMINI = (
    "gemini-3.1-pro-preview",
    "gemini-3.5-flash-lite",
    "gemini-3-flash-preview",
    "gemini-2.5-flash",
    "gemini-embedding-001",
)
CREATED = 1_770_000_000
NO_SUCH_MODEL = "no-such-model"


def models(route: Route) -> Rendered:
    """The list, or one entry of it; Misuse for an id that is not there."""
    if route.vendor == "anthropic":
        entries: list[dict[str, Any]] = [
            {
                "type": "model",
                "id": name,
                "display_name": name.replace("-", " ").title(),
                "created_at": "2026-02-01T00:00:00Z",
            }
            for name in ANTHROPIC
        ]
        page: dict[str, Any] = {"data": entries, "has_more": False, "first_id": ANTHROPIC[0], "last_id": ANTHROPIC[-1]}
    elif route.vendor == "gemini":
        methods = ["generateContent", "countTokens"]
        entries = [
            {"name": f"models/{name}", "version": "1", "displayName": name, "supportedGenerationMethods": methods}
            for name in GEMINI
        ]
        page = {"models": entries}
    else:
        entries = [{"id": name, "object": "model", "created": CREATED, "owned_by": "simulator"} for name in OPENAI]
        page = {"object": "list", "data": entries}
    if not route.item:
        return whole(page)
    for entry in entries:
        if route.item in (entry.get("id"), str(entry.get("name", "")).removeprefix("models/")):
            return whole(entry)
    raise Misuse("not_found", f"The model '{route.item}' does not exist", param="model")


def vector(text: str, dimensions: int) -> list[float]:
    """The same numbers for the same text, of length one or nearly."""
    raw = hashlib.shake_128(text.encode()).digest(2 * dimensions)
    return [round((value - 32_768) / 32_768 / dimensions**0.5, 6) for value in struct.unpack(f"<{dimensions}H", raw)]


def embeddings(body: dict[str, Any], tokens: int) -> Rendered:
    """OpenAI's shape; floats or base64, as asked."""
    if "input" not in body:
        raise Misuse("invalid_request", "Missing required parameter: 'input'.", param="input")
    given = body["input"]
    texts = [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else given
    dimensions = int(body.get("dimensions") or 64)
    data = []
    for index, text in enumerate(texts):
        values: Any = vector(str(text), dimensions)
        if body.get("encoding_format") == "base64":
            values = base64.b64encode(struct.pack(f"<{dimensions}f", *values)).decode()
        data.append({"object": "embedding", "index": index, "embedding": values})
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return whole({"object": "list", "data": data, "model": body.get("model", ""), "usage": usage})


def gemini_embeddings(route: Route, body: dict[str, Any]) -> Rendered:
    """`embedContent` or `batchEmbedContents`."""
    size = int(body.get("outputDimensionality") or 64)
    if route.item == "batchEmbedContents":
        return whole(
            {"embeddings": [{"values": vector(str(each.get("content")), size)} for each in body.get("requests", [])]}
        )
    return whole({"embedding": {"values": vector(str(body.get("content")), size)}})


class Shelf:
    """Things that a provider keeps between requests; the oldest fall off."""

    def __init__(self, size: int = 1_000) -> None:
        self._size = size
        self._things: dict[str, dict[str, Any]] = {}

    def put(self, identity: str, thing: dict[str, Any]) -> None:
        self._things[identity] = thing
        if len(self._things) > self._size:
            del self._things[next(iter(self._things))]

    def get(self, identity: str) -> dict[str, Any]:
        if identity not in self._things:
            raise Misuse("not_found", f"'{identity}' not found.", code=None)
        return self._things[identity]

    def take(self, identity: str) -> dict[str, Any]:
        found = self.get(identity)
        del self._things[identity]
        return found

    def all(self) -> list[dict[str, Any]]:
        return list(self._things.values())

    def clear(self) -> None:
        self._things.clear()


def stored(shelf: Shelf, method: str, item: str) -> Rendered:
    """GET or DELETE of a stored response."""
    if method == "DELETE":
        shelf.take(item)
        return whole({"id": item, "object": "response", "deleted": True})
    return whole(shelf.get(item))


def cached_contents(shelf: Shelf, method: str, item: str, body: dict[str, Any], number: int, tokens: int) -> Rendered:
    """Gemini's explicit caches: create, list, read, extend, delete."""
    if method == "POST":
        name = f"cachedContents/sim{number}"
        made = {
            "name": name,
            "model": body.get("model", ""),
            "createTime": "2026-11-23T00:00:00Z",
            "expireTime": "2026-11-24T00:00:00Z",
            "usageMetadata": {"totalTokenCount": tokens},
        }
        shelf.put(name, made)
        return whole(made)
    if not item:
        return whole({"cachedContents": shelf.all()})
    name = f"cachedContents/{item}"
    if method == "DELETE":
        shelf.take(name)
        return whole({})
    return whole(shelf.get(name))
