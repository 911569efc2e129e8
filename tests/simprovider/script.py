"""How one request is to be answered, said by control API, `x-sim-*` headers, prompt marker or in process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

MARKER_START = "[[sim:"
MARKER_END = "]]"
VERBS = ("run", "write", "tool", "say")


class Call(msgspec.Struct, forbid_unknown_fields=True):
    """A tool call that the answer makes. `input` is the free text of a custom tool, else `arguments` is an object."""

    name: str
    arguments: dict[str, Any] = {}
    input: str = ""
    namespace: str = ""
    custom: bool = False


class Match(msgspec.Struct, forbid_unknown_fields=True):
    """Which requests a queued script is for; an empty field matches everything."""

    path: str = ""  # part of the path
    model: str = ""
    operation: str = ""
    header: dict[str, str] = {}
    body: str = ""  # part of the body


class Script(msgspec.Struct, forbid_unknown_fields=True):
    """What is special about an answer; the default is a good one. README.md of this package explains every field."""

    # what is said
    text: str = ""
    text_bytes: int = 0
    events: int = 0
    delta_chars: int = 0
    thinking: str = ""
    calls: list[Call] = []
    stop: str = ""
    usage: dict[str, int] = {}
    service_tier: str = ""
    model: str = ""
    echo: str = ""
    pings: int = 0
    # errors
    error: str = ""
    status: int = 0
    message: str = ""
    retry_after: int = 0
    headers: dict[str, str] = {}
    body: str = ""
    error_at: int = -1
    # time
    hold: str = ""
    hold_at: int = -1
    delay_ms: int = 0
    interval_ms: float = 0
    # transport
    cut: str = ""
    cut_at: int = -1
    cut_inside: bool = False
    truncate_at: int = -1
    chunk: str = ""
    framing: str = ""
    content_length: int = 0
    garbage: str = ""
    encoding: str = ""
    newline: str = ""
    comments: int = 0
    interim: bool = False
    close: bool = False
    # which requests
    turn: int = 1
    canned: bool = False


class Queued(msgspec.Struct, forbid_unknown_fields=True):
    """A script waiting for its requests: the first match takes it, `times` requests long (0: for ever)."""

    script: dict[str, Any]
    match: Match = msgspec.field(default_factory=Match)
    times: int = 1
    skip: int = 0


DEFAULT = Script()
_FIELDS = {field.name: field for field in msgspec.structs.fields(Script)}


def from_mapping(fields: Mapping[str, Any]) -> Script:
    """Checked and converted; raises msgspec.ValidationError for an unknown field or a wrong type."""
    return msgspec.convert(dict(fields), Script, strict=False)


def from_headers(headers: list[tuple[str, str]]) -> dict[str, Any]:
    """`x-sim-script: {json}` and `x-sim-<field>: value`, dashes for underscores."""
    found: dict[str, Any] = {}
    for name, value in headers:
        lower = name.lower()
        if not lower.startswith("x-sim-"):
            continue
        if lower == "x-sim-script":
            found.update(msgspec.json.decode(value))
            continue
        key = lower[6:].replace("-", "_")
        if key in _FIELDS:
            found[key] = _value(key, value)
    return found


def _value(key: str, value: str) -> Any:
    """Lists and objects are written as JSON, everything else as it is."""
    if key in ("calls", "usage", "headers"):
        return msgspec.json.decode(value)
    return value


def markers(prompt: str) -> list[str]:
    """The insides of every `[[sim: …]]`, in order."""
    found = []
    for piece in prompt.split(MARKER_START)[1:]:
        inside, end, _ = piece.partition(MARKER_END)
        if end:
            found.append(inside.strip())
    return found


def from_marker(inside: str) -> dict[str, Any]:
    """`key=value` pairs of script fields; a marker that starts with a verb is for the brain and has none."""
    if inside.split(" ", 1)[0] in VERBS:
        return {}
    found: dict[str, Any] = {}
    for word in inside.split():
        key, equals, value = word.partition("=")
        key = key.replace("-", "_")
        if equals and key in _FIELDS:
            found[key] = _value(key, value)
    return found
