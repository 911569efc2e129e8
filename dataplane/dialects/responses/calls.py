"""Calls of tools in one response: what the provider bills by the call, by the container, or as another model's tokens.

Items are seen as they pass, and again in the list at the end, which may lack some or all of them: of each kind the
larger count holds. An item that has an id counts once. Source: OpenAI's API reference, pricing page.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from dataplane.core.usage import UsageClass, UsagePart
from dataplane.dialects.counts import Units
from dataplane.dialects.scan import UNREADABLE, decoded
from dataplane.dialects.tool_sizes import IMAGE_MODEL, gigabytes
from dataplane.dialects.values import NOTHING, within, word

MOST_IDS: Final = 1_000  # a response has at most 128 calls
MOST_NAMES: Final = 32
_LONGEST_NAME: Final = 64

# Billed by tokens that are in the usage already, by somebody else, or not at all.
_FREE: Final = frozenset({
    "function_call", "custom_tool_call", "mcp_call", "computer_call", "local_shell_call", "apply_patch_call",
    "tool_search_call",
})  # fmt: skip
_SEARCH: Final = "web_search_call"
_FILES: Final = "file_search_call"
_IMAGE: Final = "image_generation_call"
_CONTAINERS: Final = frozenset({"code_interpreter_call", "shell_call"})


class Action(msgspec.Struct, gc=False):
    type: str = ""


class Environment(msgspec.Struct, gc=False):
    container_id: str | None = None


class Item(msgspec.Struct, gc=False):
    type: str = ""
    id: str | None = None
    action: msgspec.Raw = NOTHING
    container_id: str | None = None
    environment: msgspec.Raw = NOTHING


_action = msgspec.json.Decoder(Action)
_environment = msgspec.json.Decoder(Environment)


class _Counts:
    """Of one pass over the items."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self._ids: set[str] = set()

    def add(self, item: Item) -> None:
        if item.id:
            if item.id in self._ids or len(self._ids) >= MOST_IDS:
                return
            self._ids.add(item.id)
        if item.type in self.calls or len(self.calls) < MOST_NAMES:
            self.calls[item.type] = self.calls.get(item.type, 0) + 1


class CallsSeen:
    """All of one response."""

    def __init__(self) -> None:
        self._passed, self._listed = _Counts(), _Counts()
        self._containers: set[str] = set()
        self._without_id = False  # code ran in a container that was not named
        self._gigabytes = 1  # of each of them

    def passed(self, item: Item) -> None:
        self._see(item, self._passed)

    @property
    def containers(self) -> int:
        """In how many of them code ran."""
        return len(self._containers) or int(self._without_id)

    def declared(self, tools: msgspec.Raw) -> None:
        """As the response repeats them: how large a container is that it makes for itself."""
        self._gigabytes = max(
            [gigabytes(tool.get("container")) for tool in _tools(tools, "code_interpreter")], default=self._gigabytes
        )

    def listed(self, items: Iterable[Item]) -> None:
        self._listed = _Counts()
        for item in items:
            self._see(item, self._listed)

    def units(self) -> Units:
        units: Units = {}
        if searches := self._calls(_SEARCH):
            units[UsageClass.WEB_SEARCH] = searches
        if files := self._calls(_FILES):
            units[UsageClass.TOOL_CALL] = files
        if self.containers:
            units[UsageClass.CONTAINER] = self.containers * self._gigabytes
        return units

    def unknown(self, *, images_told: bool = False) -> dict[str, int]:
        """Calls of tools that this version knows no price of; images are among them where nobody told their tokens."""
        elsewhere = {_SEARCH, _FILES, _IMAGE} if images_told else {_SEARCH, _FILES}
        names = {*self._passed.calls, *self._listed.calls} - elsewhere
        return {name: self._calls(name) for name in sorted(names)}

    def _calls(self, name: str) -> int:
        return max(self._passed.calls.get(name, 0), self._listed.calls.get(name, 0))

    def _see(self, item: Item, counts: _Counts) -> None:
        kind = item.type
        if not kind.endswith("_call") or kind in _FREE:
            return
        if kind in _CONTAINERS:
            self._ran_in(item)
        elif kind != _SEARCH or _is_search(item):
            item.type = kind[:_LONGEST_NAME]
            counts.add(item)

    def _ran_in(self, item: Item) -> None:
        container = item.container_id or _container_of(item.environment)
        if container and len(self._containers) < MOST_IDS:
            self._containers.add(container[:_LONGEST_NAME])
        elif item.type == "code_interpreter_call":  # a shell without a container is the client's own
            self._without_id = True


def image_part(tools: msgspec.Raw, tokens: Units) -> UsagePart:
    """What images took, at their own model's rates. `tools`: as the response repeats them."""
    model = IMAGE_MODEL
    for tool in _tools(tools, "image_generation"):
        model = word(tool, "model") or model
    used = {unit: count for unit, count in tokens.items() if count}
    return UsagePart(model, used, _IMAGE)


def _tools(raw: msgspec.Raw, kind: str) -> list[dict[str, object]]:
    tools = decoded(raw) if raw else None
    some = tools if isinstance(tools, list) else []
    return [tool for tool in some if isinstance(tool, dict) and tool.get("type") == kind]


def image_usage(tool_usage: msgspec.Raw) -> dict[str, object]:
    """The tokens of images in a response's `tool_usage`; empty without any."""
    used = decoded(tool_usage) if 0 < len(tool_usage) <= MOST_IDS * 16 else None
    images = within(used, "image_gen") if isinstance(used, dict) else {}
    return images if images.get("total_tokens") or images.get("output_tokens") or images.get("input_tokens") else {}


def _is_search(item: Item) -> bool:
    """Opening a page, or finding in it, is not billed."""
    if not item.action:
        return True
    try:
        return _action.decode(item.action).type in ("", "search")
    except UNREADABLE:
        return True


def _container_of(environment: msgspec.Raw) -> str:
    if not environment:
        return ""
    try:
        return _environment.decode(environment).container_id or ""
    except UNREADABLE:
        return ""
