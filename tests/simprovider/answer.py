"""The request path of the simulator: find the API, check the credential, decide, render, play."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import msgspec
import zstandard

from tests.simprovider import anthropic, catalogue, chat, errors, gemini, responses, script
from tests.simprovider.brain import reply
from tests.simprovider.control import control
from tests.simprovider.conversation import Conversation
from tests.simprovider.counts import count
from tests.simprovider.echo import echoed_headers, echoed_text
from tests.simprovider.play import Player
from tests.simprovider.record import Recorded
from tests.simprovider.render import JSON, Misuse, Rendered, Saying
from tests.simprovider.routes import Route, find
from tests.simprovider.script import Script
from tests.simprovider.simulator import Simulator
from tests.simprovider.vendor import credential, headers_of, presented
from tests.simprovider.wire import Connection, Headers, Request

RENDER = {
    "anthropic_messages": anthropic.render,
    "openai_responses": responses.render,
    "openai_chat": chat.render,
    "gemini": gemini.render,
}
ERROR_EVENT = {
    "anthropic_messages": anthropic.error_event,
    "openai_responses": responses.error_event,
    "openai_chat": chat.error_event,
    "gemini": gemini.error_event,
}
DECODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": lambda body: bytes(zstandard.ZstdDecompressor().decompressobj().decompress(body)),
}
NOWHERE = Route("openai", "openai_chat", "unknown")


class Answering:
    """Answers every request that comes to one simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    async def __call__(self, request: Request, wire: Connection) -> None:
        if request.path.startswith("/_sim"):
            await control(self.simulator, request, wire)
            return
        canned = request.header("x-sim-canned")
        route = find(request) or NOWHERE
        record = self.simulator.open(request, route, keep_body=not canned)
        try:
            if canned:
                await self._canned(request, route, record, wire)
            else:
                await self._one(request, route, record, wire)
        finally:
            if record.ended == "open":
                record.ended = "client_gone"
            self.simulator.close(record)

    async def _one(self, request: Request, route: Route, record: Recorded, wire: Connection) -> None:
        fields: dict[str, Any] = {}
        said = script.DEFAULT
        try:
            body = _body(request)
            model = route.model or str(body.get("model", ""))
            record.model = model
            fields = self.simulator.scripted(route, request, model) | script.from_headers(request.headers)
            said = script.from_mapping(fields) if fields else script.DEFAULT
            self._check_access(request, route, record)
            rendered, stream, said = self._decide(request, route, record, body, fields, said)
        except Misuse as misuse:
            rendered, headers = _refused(route, record, misuse)
            stream = False
        else:
            headers = headers_of(route.vendor, record)
        if said.echo:
            headers = headers + echoed_headers(request)
        player = Player(self.simulator, wire, record, said)
        await player.send(rendered, headers, stream, lambda: _error_event(route, record, said))

    def _check_access(self, request: Request, route: Route, record: Recorded) -> None:
        name, value = presented(request, route.vendor)
        record.credential = name
        credential(self.simulator.keys.get(route.vendor, ""), value, route.vendor)
        if route is NOWHERE:
            raise Misuse("not_found", f"Invalid URL ({request.method} {request.path})", code=None)
        if route.vendor == "anthropic" and not request.header("anthropic-version"):
            raise Misuse("invalid_request", "anthropic-version: header is required")
        if request.method == "GET" and request.header("upgrade"):
            raise Misuse("upgrade", "WebSocket is not served by the simulator.")

    def _decide(
        self,
        request: Request,
        route: Route,
        record: Recorded,
        body: dict[str, Any],
        fields: dict[str, Any],
        said: Script,
    ) -> tuple[Rendered, bool, Script]:
        if route.operation in ("models", "embeddings", "embed_content", "cached_contents", "responses_stored"):
            _fail_if_asked(said, stream=False)
            return self._small(request, route, record, body), False, said
        if request.method != "POST":
            raise Misuse("not_found", f"Invalid method for URL ({request.method} {request.path})", code=None)
        conversation = _read(request, route, body, record.model)
        record.stream = conversation.stream
        record.prompt, record.turn = conversation.prompt[:2_000], conversation.turn
        record.tools = [tool.name for tool in conversation.tools]
        said = _with_markers(conversation, fields, said)
        _fail_if_asked(said, conversation.stream)
        if conversation.model.startswith(catalogue.NO_SUCH_MODEL):
            raise Misuse(
                "not_found", f"The model `{conversation.model}` does not exist or you do not have access to it."
            )
        answer = reply(conversation, said, route.dialect)
        if said.echo:
            answer.text = echoed_text(request, said.echo)
            answer.deltas = [answer.text]
        counts = count(conversation, answer, said, route.vendor, self.simulator.cache, len(request.body))
        saying = Saying(record.number, conversation, answer, said, counts, route.operation)
        rendered = RENDER[route.dialect](saying)
        billed = route.operation not in ("count_tokens", "responses_input_tokens")
        record.usage = counts if billed else {}
        record.service_tier = saying.tier
        if route.operation == "responses" and body.get("store", True):
            stored = responses.response(saying, [], "completed")
            self.simulator.responses.put(stored["id"], stored)
        return rendered, conversation.stream, said

    def _small(self, request: Request, route: Route, record: Recorded, body: dict[str, Any]) -> Rendered:
        tokens = max(1, len(request.body) // 4)
        if route.operation == "models":
            return catalogue.models(route)
        if route.operation == "responses_stored":
            return catalogue.stored(self.simulator.responses, request.method, route.item)
        if route.operation == "cached_contents":
            return catalogue.cached_contents(
                self.simulator.contents, request.method, route.item, body, record.number, tokens
            )
        if route.operation == "embed_content":
            return catalogue.gemini_embeddings(route, body)
        record.usage = {"input": tokens}
        return catalogue.embeddings(body, tokens)

    async def _canned(self, request: Request, route: Route, record: Recorded, wire: Connection) -> None:
        """For load: one rendering per route and script, the body not even looked at beyond `"stream":true`."""
        stream = (
            b'"stream":true' in request.body or b'"stream": true' in request.body or route.item.startswith("stream")
        )
        said = script.from_mapping(script.from_headers(request.headers) | {"canned": True})
        key = (route.dialect, route.operation, stream, msgspec.json.encode(said))
        found = self.simulator.canned.get(key)
        if found is None:
            conversation = Conversation(model="canned-model", stream=stream, prompt="canned")
            answer = reply(conversation, said, route.dialect)
            counts = {"input": 1_000, "output": 100} if not said.usage else said.usage
            made = RENDER[route.dialect](Saying(0, conversation, answer, said, counts, route.operation))
            found = Rendered(made.media, list(made.events), made.status), counts
            self.simulator.canned[key] = found
        rendered, record.usage = found
        record.model, record.stream = "canned-model", stream
        player = Player(self.simulator, wire, record, said)
        await player.send(rendered, headers_of(route.vendor, record), stream, lambda: b"")


def _body(request: Request) -> dict[str, Any]:
    body = request.body
    coding = request.header("content-encoding").lower()
    if not body:
        return {}
    try:
        if coding and coding != "identity":
            body = DECODE[coding](body)
        found = msgspec.json.decode(body)
    except (KeyError, ValueError, OSError, zlib.error, brotli.error, zstandard.ZstdError):
        raise Misuse("invalid_request", "We could not parse the JSON body of your request.") from None
    if not isinstance(found, dict):
        raise Misuse("invalid_request", "The JSON body of your request is not an object.")
    return found


def _read(request: Request, route: Route, body: dict[str, Any], model: str) -> Conversation:
    try:
        if route.dialect == "anthropic_messages":
            return anthropic.read(body | {"__count": True} if route.operation == "count_tokens" else body)
        if route.dialect == "openai_responses":
            return responses.read({"model": model, **body})
        if route.dialect == "openai_chat":
            if route.model:
                body = body | {"model": route.model}
            return chat.read(body, cursor=route.prefix.endswith("/cursor"))
        stream = route.item == "streamGenerateContent"
        if stream and request.query.get("alt") != "sse":
            body = body | {"__array": True}
        return gemini.read(body, model, stream)
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise Misuse("invalid_request", f"Invalid request: {type(problem).__name__}: {problem}") from problem


def _with_markers(conversation: Conversation, fields: dict[str, Any], said: Script) -> Script:
    """Markers lose against headers and queued scripts; each is for one turn of the conversation."""
    wanted: dict[str, Any] = {}
    for inside in script.markers(conversation.prompt):
        marked = script.from_marker(inside)
        if marked and int(marked.get("turn", 1)) in (0, conversation.turn):
            wanted |= marked
    return script.from_mapping(wanted | fields) if wanted else said


def _fail_if_asked(said: Script, stream: bool) -> None:
    """An error before the first byte: by kind, or by a status alone. One in the middle needs a stream."""
    failing = said.status >= 400 and not said.body
    if (stream and said.error_at >= 0) or not (said.error or failing or said.body):
        return
    raise Misuse(
        said.error or errors.kind_for(said.status),
        said.message,
        status=said.status,
        retry_after=said.retry_after,
        raw=said.body,
    )


def _refused(route: Route, record: Recorded, misuse: Misuse) -> tuple[Rendered, Headers]:
    more = dict(misuse.more)
    raw = more.pop("raw", "")
    if misuse.kind == "upgrade":
        return Rendered(JSON, [], 426), headers_of(route.vendor, record)
    status, headers, body = errors.native(route.vendor, misuse.kind, record.request_id, message=misuse.message, **more)
    if raw:
        status, body = more.get("status") or 200, raw.encode()
    if route.item == "streamGenerateContent" and '"alt' not in record.target and "alt=sse" not in record.target:
        body = b"[" + body + b"]"
    media = headers.pop("content-type")
    record.ended = "error"
    record.usage = {}
    return Rendered(media, [(body, 0, False)], status), headers_of(route.vendor, record) + list(headers.items())


def _error_event(route: Route, record: Recorded, said: Script) -> bytes:
    kind = said.error or "overloaded"
    status, _, body = errors.native(
        route.vendor, kind, record.request_id, message=said.message, retry_after=said.retry_after
    )
    return ERROR_EVENT[route.dialect](status, body)
