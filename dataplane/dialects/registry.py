"""The table of routes: which wire format answers a path. The prefixes `/anthropic`, `/openai`, `/gemini`, `/cursor` are
cut off first.

`match` raises Refusal(NOT_FOUND | WRONG_BASE_URL | METHOD_NOT_ALLOWED | UPGRADE_NOT_SUPPORTED); the dialect to say it
in is `envelope(path)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from dataplane.core.errors import Code, Refusal
from dataplane.dialects import base_urls
from dataplane.dialects.anthropic.dialect import AnthropicMessages
from dataplane.dialects.chat.dialect import OpenAIChat
from dataplane.dialects.dialect import Dialect, DialectName, Operation
from dataplane.dialects.gemini.dialect import Gemini
from dataplane.dialects.responses.dialect import OpenAIResponses

ANTHROPIC = AnthropicMessages()
RESPONSES = OpenAIResponses()
CHAT = OpenAIChat()
GEMINI = Gemini()

DIALECTS: Mapping[DialectName, Dialect] = {d.name: d for d in (ANTHROPIC, RESPONSES, CHAT, GEMINI)}


@dataclass(frozen=True, slots=True)
class Route:
    """The way of a request. `version` and `tail` are what stands after a provider's host: `/v1` + `/messages`."""

    dialect: Dialect
    operation: Operation
    path_model: str  # Gemini: the model of the path; MODELS: the one asked for, "" for the list; decoded
    version: str  # "v1", "v1beta", …; "" for the paths without one
    tail: str  # with `{model}` where a model's name belongs, else as it came
    prefix: str  # "", "/anthropic", "/openai", "/gemini", "/cursor"


REMEMBERED_LENGTH = 128  # of a path; Gemini's, which name the model, are the longest

_PREFIX = re.compile(r"/(?:anthropic|openai|gemini|cursor)(?=/)")
_VERSION = re.compile(r"/(v1|v1beta|v1alpha)(?=/)")
_ID = r"(?!responses$)[A-Za-z0-9_\-]{1,256}"
_MODEL = r"(?!/|[^?#]*//)[^?#\s\x00-\x1f]{1,256}(?<!/)"

# pattern of what follows the version (a group in it is the model) · dialect · methods with their operation
_Line = tuple[re.Pattern[str], Dialect, Mapping[str, Operation]]


def _line(pattern: str, dialect: Dialect, methods: Mapping[str, Operation]) -> _Line:
    return re.compile(pattern), dialect, methods


_OPENAI_TABLE: tuple[_Line, ...] = (
    _line(r"/messages", ANTHROPIC, {"POST": Operation.MESSAGES}),
    _line(r"/messages/count_tokens", ANTHROPIC, {"POST": Operation.COUNT_TOKENS}),
    _line(r"/responses", RESPONSES, {"POST": Operation.RESPONSES}),
    _line(r"/responses/compact", RESPONSES, {"POST": Operation.RESPONSES_COMPACT}),
    _line(r"/responses/input_tokens", RESPONSES, {"POST": Operation.RESPONSES_INPUT_TOKENS}),
    _line(
        rf"/responses/{_ID}",
        RESPONSES,
        {"GET": Operation.RESPONSES_STORED, "DELETE": Operation.RESPONSES_STORED},
    ),
    _line(rf"/responses/{_ID}/cancel", RESPONSES, {"POST": Operation.RESPONSES_STORED}),
    _line(rf"/responses/{_ID}/input_items", RESPONSES, {"GET": Operation.RESPONSES_STORED}),
    _line(r"/chat/completions", CHAT, {"POST": Operation.CHAT}),
    _line(r"/embeddings", CHAT, {"POST": Operation.EMBEDDINGS}),
    _line(r"/budget", CHAT, {"GET": Operation.BUDGET}),
)

_GEMINI_TABLE: tuple[_Line, ...] = (
    _line(rf"/models/({_MODEL}):generateContent", GEMINI, {"POST": Operation.GENERATE_CONTENT}),
    _line(rf"/models/({_MODEL}):streamGenerateContent", GEMINI, {"POST": Operation.STREAM_GENERATE_CONTENT}),
    _line(rf"/models/({_MODEL}):countTokens", GEMINI, {"POST": Operation.COUNT_TOKENS}),
    _line(rf"/models/({_MODEL}):(?:embedContent|batchEmbedContents)", GEMINI, {"POST": Operation.EMBED_CONTENT}),
    _line(r"/cachedContents", GEMINI, {"GET": Operation.CACHED_CONTENTS, "POST": Operation.CACHED_CONTENTS}),
    _line(
        rf"/cachedContents/{_ID}",
        GEMINI,
        {
            "GET": Operation.CACHED_CONTENTS,
            "PATCH": Operation.CACHED_CONTENTS,
            "DELETE": Operation.CACHED_CONTENTS,
        },
    ),
)

_WORDS = (
    *(("/messages", ANTHROPIC), ("/responses", RESPONSES)),
    *(("/chat/completions", CHAT), ("/embeddings", CHAT), ("/budget", CHAT), ("/cachedContents", GEMINI)),
)
_MODELS = re.compile(rf"/models(?:/({_MODEL}))?")
_DOTS = re.compile(r"(?:^|/)\.\.?(?:/|$)")


def match(method: str, path: str, headers: Mapping[bytes, bytes] | None = None) -> Route:
    """`path` without its query, as it came (still percent-encoded). `headers` (lower-case names) only tell which list
    of models a caller wants."""
    if method == "POST" and len(path) <= REMEMBERED_LENGTH:
        return _remembered(method, path)
    return _matched(method, path, headers or {})


def listed() -> Iterator[tuple[str, str, DialectName, Operation]]:
    """Every route, for the documentation: method, path with `{model}` and `{id}`, dialect, operation."""
    for version, table in (("v1", _OPENAI_TABLE), ("v1beta", _GEMINI_TABLE)):
        for pattern, dialect, methods in table:
            for path in _spelt(pattern.pattern):
                yield from ((method, f"/{version}{path}", dialect.name, methods[method]) for method in methods)
        yield from (("GET", f"/{version}/models{one}", CHAT.name, Operation.MODELS) for one in ("", "/{model}"))


def _spelt(pattern: str) -> list[str]:
    path = pattern.replace(f"({_MODEL})", "{model}").replace(_ID, "{id}")
    choice = re.fullmatch(r"(.*)\(\?:(.*)\)", path)
    return [choice[1] + one for one in choice[2].split("|")] if choice else [path]


@lru_cache(maxsize=1024)
def _remembered(method: str, path: str) -> Route:
    """A few paths are posted to again and again, and say everything."""
    return _matched(method, path, {})


def _matched(method: str, path: str, headers: Mapping[bytes, bytes]) -> Route:
    prefix, version, rest = _cut(path)
    named = bool(version or prefix)  # only Gemini's model paths may stand bare
    if version == "v1" or (prefix and not version):
        if method == "GET" and rest == "/responses":
            raise _no_websocket()
        route = _search(_OPENAI_TABLE, method, prefix, version, rest)
        if route is not None:
            return route
    route = _search(_GEMINI_TABLE, method, prefix, version, rest)
    if route is not None:
        return route
    hit = _MODELS.fullmatch(rest) if named else None
    if hit is None or _DOTS.search(unquote(rest)) or (method != "GET" and ":" in rest):
        right = _meant(path)
        if right is None:
            raise Refusal(Code.NOT_FOUND, f"no such route: {path[:200]}")
        if method == "GET" and right.path.endswith("/responses") and b"upgrade" in headers:
            raise _no_websocket()  # Codex tries seven times whatever else is said, and then HTTP
        raise base_urls.wrong(path, right)
    if method != "GET":
        raise Refusal(Code.METHOD_NOT_ALLOWED, f"{path[:200]} answers GET", meta={"allow": "GET"})
    dialect = _list_dialect(prefix, version, headers)
    return Route(dialect, Operation.MODELS, unquote(hit.group(1) or ""), version, rest, prefix)


def envelope(path: str, headers: Mapping[bytes, bytes] | None = None) -> Dialect:
    """The dialect to refuse in when `match` raised: the one of the nearest route, OpenAI's where there is none."""
    right = None if _is_route(path) else _meant(path)
    return _dialect_of(right.path if right else path, headers or {})


def _dialect_of(path: str, headers: Mapping[bytes, bytes]) -> Dialect:
    """Decides by the words of a path, then by what stands in front of them."""
    prefix, version, rest = _cut(path)
    for words, dialect in _WORDS:
        if rest.startswith(words):
            return dialect
    if prefix == "/anthropic":
        return ANTHROPIC
    if prefix == "/gemini" or version in ("v1beta", "v1alpha") or (rest.startswith("/models/") and ":" in rest):
        return GEMINI
    return _list_dialect(prefix, version, headers) if _MODELS.fullmatch(rest) else CHAT


def _no_websocket() -> Refusal:
    return Refusal(Code.UPGRADE_NOT_SUPPORTED, "WebSocket is not served here; use POST over HTTP")


def _meant(path: str) -> base_urls.Meant | None:
    return base_urls.meant(path, _is_route, _appends_version)


def _is_route(path: str) -> bool:
    """Whatever the method."""
    prefix, version, rest = _cut(path)
    if _DOTS.search(unquote(rest)):
        return False
    tables = (*(_OPENAI_TABLE if version == "v1" or (prefix and not version) else ()), *_GEMINI_TABLE)
    if any(pattern.fullmatch(rest) for pattern, _, _ in tables):
        return True
    return bool(version or prefix) and ":" not in rest and _MODELS.fullmatch(rest) is not None


def _appends_version(path: str) -> bool:
    """Clients of Anthropic's and of Gemini's API are given an address, those of OpenAI's one that ends in `/v1`."""
    return _dialect_of(path, {}) in (ANTHROPIC, GEMINI)


def _cut(path: str) -> tuple[str, str, str]:
    prefix = _PREFIX.match(path)
    rest = path[prefix.end() :] if prefix else path
    version = _VERSION.match(rest)
    return (
        prefix.group() if prefix else "",
        version.group(1) if version else "",
        rest[version.end() :] if version else rest,
    )


def _search(table: tuple[_Line, ...], method: str, prefix: str, version: str, rest: str) -> Route | None:
    for pattern, dialect, methods in table:
        hit = pattern.fullmatch(rest)
        if hit is None:
            continue
        operation = methods.get(method)
        if operation is None:
            allow = ", ".join(methods)
            where = f"{prefix}/{version}{rest}" if version else prefix + rest
            raise Refusal(Code.METHOD_NOT_ALLOWED, f"{where[:200]} answers {allow}", meta={"allow": allow})
        if not hit.groups():
            return Route(dialect, operation, "", version, rest, prefix)
        model = unquote(hit.group(1))
        if _DOTS.search(model):
            return None
        return Route(dialect, operation, model, version, "/models/{model}" + rest[hit.end(1) :], prefix)
    return None


def _list_dialect(prefix: str, version: str, headers: Mapping[bytes, bytes]) -> Dialect:
    if prefix == "/gemini" or version in ("v1beta", "v1alpha"):
        return GEMINI
    if prefix == "/anthropic" or b"anthropic-version" in headers:
        return ANTHROPIC
    if not prefix and b"x-goog-api-key" in headers and b"authorization" not in headers:
        return GEMINI
    return CHAT
