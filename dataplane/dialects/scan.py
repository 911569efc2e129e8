"""One scan of a request body: its top-level fields, where each value stands, and splicing that moves nothing else.

msgspec skips what nobody asks for, so the scan costs as much as finding the model alone would. What it found must
account for every byte of the top level; it does not exactly when a field comes twice, and then the request is refused:
gateway and provider could read different values out of such a body.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.dialect import Splice
from dataplane.dialects.halves import with_whole_characters

# What a body may hold outside of the fields that are known to be large, and how many fields: providers have about 40.
MAX_REST = 1024 * 1024
MAX_FIELDS = 1_000
MAX_ELEMENTS = (
    20_000  # braces in an array that is taken apart; a batch of embeddings has three per request, 100 requests
)
MAX_REQUESTS = 2_000  # of one body: each is looked at for itself
_FEW = 64 * 1024  # bytes of an array that may hold anything: taken apart, it costs less than the request does
MAX_COUNT = 2**53  # a larger count than this is as good as none, and no arithmetic of ours meets it

_KEY = re.compile(rb'[ \t\r\n]*"([^"\\]*(?:\\.[^"\\]*)*)"[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_NEXT = re.compile(rb"[ \t\r\n]*([,}])")
_OPEN = re.compile(rb"[ \t\r\n]*\{")
_OPENING, _CLOSING, _COMMA, _SPACE = b"{}, "

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder()
_RAW = msgspec.Raw(b"")

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


class _Large(msgspec.Struct):
    messages: msgspec.Raw = _RAW
    input: msgspec.Raw = _RAW
    contents: msgspec.Raw = _RAW
    requests: msgspec.Raw = _RAW
    system: msgspec.Raw = _RAW
    instructions: msgspec.Raw = _RAW
    tools: msgspec.Raw = _RAW
    content: msgspec.Raw = _RAW
    prompt: msgspec.Raw = _RAW
    systemInstruction: msgspec.Raw = _RAW
    response_format: msgspec.Raw = _RAW
    text: msgspec.Raw = _RAW


class _Object(msgspec.Struct):
    """Of which nothing is asked."""


_large = msgspec.json.Decoder(_Large)
_objects = msgspec.json.Decoder(list[_Object])


Span = tuple[int, int]
T = TypeVar("T")


class Scan:
    """The top level of one JSON object. `spans`: as far as they are known already (None: the body is compact)."""

    __slots__ = ("_raw", "_spans", "body")

    def __init__(self, body: bytes, raw: dict[str, msgspec.Raw], spans: dict[str, Span] | None) -> None:
        self.body = body
        self._raw = raw
        self._spans = spans

    @property
    def spans(self) -> dict[str, Span]:
        """Key → (start, end) of its value in `body`."""
        if self._spans is None:
            self._spans = dict(self._places())
        return self._spans

    def span(self, key: str) -> Span:
        """Of a field that is there; those behind it are not looked for."""
        if self._spans is not None:
            return self._spans[key]
        for name, place in self._places():
            if name == key:
                return place
        raise KeyError(key)

    def _places(self) -> Iterator[tuple[str, Span]]:
        """Of a compact body."""
        end = 0
        for key, value in self._raw.items():
            start = end + len(key) + 4  # the comma or brace, two quotes, the colon
            end = start + len(value)
            yield key, (start, end)

    def __contains__(self, key: str) -> bool:
        """Present and not null."""
        raw = self._raw.get(key)
        return raw is not None and (len(raw) != 4 or bytes(raw) != b"null")

    def part(self, key: str, decoder: msgspec.json.Decoder[T], otherwise: T) -> T:
        """What `decoder` asks for of a field: the rest of it does not become objects."""
        raw = self._raw.get(key)
        if raw is None:
            return otherwise
        try:
            return decoder.decode(raw)
        except UNREADABLE:
            return otherwise

    def text(self, key: str) -> str:
        raw = self._raw.get(key)
        if raw is None:
            return ""
        value = decoded(raw)
        return value if isinstance(value, str) else ""

    def count(self, key: str) -> int:
        raw = self._raw.get(key)
        if raw is None:
            return 0
        return as_count(decoded(raw))

    def flag(self, key: str) -> bool:
        raw = self._raw.get(key)
        return raw is not None and len(raw) == 4 and bytes(raw) == b"true"

    def has_none_of(self, keys: frozenset[str]) -> bool:
        return self._raw.keys().isdisjoint(keys)

    def is_false(self, key: str) -> bool:
        raw = self._raw.get(key)
        return raw is not None and len(raw) == 5 and bytes(raw) == b"false"

    def inner(self, key: str) -> Scan | None:
        """The scan of an object-valued field, its spans relative to the whole body; None when it is no object."""
        span = self.spans.get(key)
        return None if span is None else self.at(span)

    def at(self, span: Span) -> Scan | None:
        if self.body[span[0]] != 0x7B:
            return None
        inside = scan(self.body[span[0] : span[1]])
        moved = {key: (start + span[0], end + span[0]) for key, (start, end) in inside.spans.items()}
        return Scan(self.body, inside._raw, moved)

    def elements(self, key: str) -> list[Span]:
        """Spans of the elements of an array-valued field."""
        span = self.spans.get(key)
        if span is None or self.body[span[0]] != 0x5B:
            return []
        if self.body.count(b"{", *span) > MAX_ELEMENTS:
            raise Refusal(Code.BAD_REQUEST, f"{key} has more than {MAX_ELEMENTS} objects")
        if span[1] - span[0] > _FEW:
            _refuse_anything_but_objects(key, self._raw[key])
        elements = _elements.decode(self._raw[key])
        if len(elements) > MAX_REQUESTS:
            raise Refusal(Code.BAD_REQUEST, f"{key} has more than {MAX_REQUESTS} elements")
        spans, position = [], span[0] + 1
        for raw in elements:
            value = bytes(raw)
            start = self.body.find(value, position)
            spans.append((start, start + len(value)))
            position = start + len(value)
        return spans


def scan(body: bytes, *, surveyed: bool = False) -> Scan:
    """Raises Refusal(BAD_REQUEST): not a JSON object, or a top-level field twice. `surveyed`: `survey` has gone over
    it, so that reading it once is all that remains."""
    try:
        return _scanned(body, surveyed)
    except UNREADABLE as failure:
        whole = body if surveyed else with_whole_characters(body)
        if whole is body:
            raise unreadable(failure) from failure
    try:
        return _scanned(whole, surveyed)
    except UNREADABLE as failure:
        raise unreadable(failure) from failure


def unreadable(failure: Exception) -> Refusal:
    """What is wrong with a body, in words for whoever sent it: none of the interpreter's."""
    match failure:
        case msgspec.ValidationError():
            words = "the request body is not a JSON object"
        case RecursionError():
            words = "the request body is nested too deeply"
        case UnicodeDecodeError():
            words = "the request body is not valid JSON: it is not UTF-8 text"
        case msgspec.MsgspecError():
            words = f"the request body is not valid JSON: {failure}"
        case _:
            words = "the request body is not valid JSON"
    return Refusal(Code.BAD_REQUEST, words)


def required_model(fields: Scan, key: str = "model") -> tuple[str, Span]:
    """Raises Refusal(MISSING_MODEL | BAD_REQUEST)."""
    if key not in fields:
        raise Refusal(Code.MISSING_MODEL, "the request names no model")
    model = fields.text(key)
    if not model or len(model) > 256:
        raise Refusal(Code.BAD_REQUEST, "the model must be a string of 1 to 256 characters")
    return model, fields.span(key)


def splice(body: bytes, changes: Iterable[Splice]) -> bytes:
    """The body with each (start, end, replacement) applied; changes do not overlap."""
    pieces, position = [], 0
    for start, end, replacement in sorted(changes):
        pieces.append(body[position:start])
        pieces.append(replacement)
        position = end
    pieces.append(body[position:])
    return b"".join(pieces)


def decoded(raw: msgspec.Raw | bytes) -> object:
    """None for what cannot be decoded."""
    try:
        value: object = _any.decode(raw)
    except UNREADABLE:
        return None
    return value


def as_count(value: object) -> int:
    """A number of tokens that a request asks for; 0 for whatever is none."""
    return min(value, MAX_COUNT) if type(value) is int and value > 0 else 0


def _scanned(body: bytes, surveyed: bool) -> Scan:
    if len(body) > MAX_REST and not surveyed:
        refuse_a_large_rest(body)
    raw = _fields.decode(body)
    if len(raw) > MAX_FIELDS:
        raise Refusal(Code.BAD_REQUEST, f"the request body has more than {MAX_FIELDS} fields")
    if _compact(body, raw):
        return Scan(body, raw, None)
    return Scan(body, raw, _plain(body, raw) or _walk(body, raw))


def _compact(body: bytes, raw: dict[str, msgspec.Raw]) -> bool:
    """True when the body has no byte more than its fields need: no white space between them, and none of them twice.

    A key is at least as long in the body as decoded, a value as long; a comma or brace, two quotes and a colon come to
    each. What was escaped, is not ASCII or comes twice makes the body longer than that.
    """
    return len(body) == 1 + 4 * len(raw) + sum(map(len, raw)) + sum(map(len, raw.values()))


def _plain(body: bytes, raw: dict[str, msgspec.Raw]) -> dict[str, Span] | None:
    """`_walk` for a body with at most one space behind a colon or comma; None for any other.

    A third of what the walk takes; every byte of the body is accounted for all the same.
    """
    spans: dict[str, Span] = {}
    position, mark = 0, _OPENING
    try:
        for key, value in raw.items():
            if body[position] != mark:
                return None
            position += 1
            position += body[position] == _SPACE
            name = b'"%b":' % key.encode()
            if '"' in key or not body.startswith(name, position):
                return None
            start = position + len(name)
            start += body[start] == _SPACE
            content = bytes(value)
            if not body.startswith(content, start):
                return None
            position = start + len(content)
            spans[key] = (start, position)
            mark = _COMMA
    except IndexError:
        return None
    return spans if position + 1 == len(body) and body[position] == _CLOSING else None


def _walk(body: bytes, raw: dict[str, msgspec.Raw]) -> dict[str, Span]:
    spans: dict[str, Span] = {}
    opening = _OPEN.match(body)
    position = opening.end() if opening else 0
    separator = b"," if raw else b"}"
    for key, value in raw.items():
        name = _KEY.match(body, position)
        if separator != b"," or name is None or not _same(name.group(1), key):
            raise _twice(spans, name)
        start, content = name.end(), bytes(value)
        if not body.startswith(content, start):
            raise _twice({**spans, key: (0, 0)}, name)
        spans[key] = (start, start + len(content))
        after = _NEXT.match(body, start + len(content))
        if after is None:
            raise _twice({**spans, key: (0, 0)}, name)
        separator, position = after.group(1), after.end()
    if raw and separator != b"}":
        raise _twice(spans, _KEY.match(body, position))
    return spans


def _same(literal: bytes, key: str) -> bool:
    return literal == key.encode() or (b"\\" in literal and decoded(b'"' + literal + b'"') == key)


def _twice(seen: dict[str, Span], name: re.Match[bytes] | None) -> Refusal:
    key = decoded(b'"' + name.group(1) + b'"') if name else None
    which = f" ({key[:64]})" if isinstance(key, str) and key in seen else ""
    return Refusal(Code.BAD_REQUEST, f"the request body has a top-level field twice{which}")


def refuse_a_large_rest(body: bytes) -> None:
    """Raises Refusal, and what UNREADABLE lists."""
    large = _large.decode(body)
    rest = len(body) - sum(len(getattr(large, name)) for name in large.__struct_fields__)
    if rest > MAX_REST:
        raise Refusal(
            Code.BAD_REQUEST,
            f"the request body has more than {MAX_REST} bytes outside of messages, input, contents and tools",
        )


def _refuse_anything_but_objects(key: str, raw: msgspec.Raw) -> None:
    """Objects are bounded by their braces; millions of numbers would each be taken out for itself."""
    try:
        _objects.decode(raw)
    except UNREADABLE:
        raise Refusal(Code.BAD_REQUEST, f"{key} holds something else than objects") from None
