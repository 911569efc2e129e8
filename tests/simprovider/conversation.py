"""What a request says, whatever its dialect: the shape in which the brain reads it and the counter counts it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.simprovider.script import MARKER_START, VERBS, markers

# Text that coding CLIs put around the user's words.
WRAPPERS = ("system-reminder", "environment_context", "environment_details", "session_context", "user_info")


@dataclass(slots=True)
class Tool:
    """A tool that the request offers. `custom` ones take free text instead of an object."""

    name: str
    schema: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    namespace: str = ""
    custom: bool = False


@dataclass(slots=True)
class Turn:
    """One message: who speaks, what is said, how many tools are called, what tools answered."""

    role: str
    text: str = ""
    calls: int = 0
    results: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Mark:
    """A prompt-cache breakpoint: the characters up to it, an identity of that prefix, and how long it is kept."""

    chars: int
    identity: str
    ttl: str = "5m"


@dataclass(slots=True)
class Conversation:
    """A whole request. `turn` counts from 1: how many answers this prompt has had, tools included."""

    model: str = ""
    stream: bool = False
    system: str = ""
    turns: list[Turn] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    schema: dict[str, Any] | None = None
    wants_json: bool = False
    thinks: bool = False
    service_tier: str = ""
    include_usage: bool = True
    marks: list[Mark] = field(default_factory=list)
    chars: int = 0
    max_output: int = 0
    prompt: str = ""
    turn: int = 1
    results: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def settle(self) -> Conversation:
        """Finds the prompt and what happened since; call it once all turns are in."""
        at = self._prompt_at()
        if at is None:
            return self
        self.prompt = unwrapped(self.turns[at].text)
        for later in self.turns[at + 1 :]:
            self.results += later.results
        self.turn = 1 + sum(1 for later in self.turns[at + 1 :] if later.role == "assistant" and later.calls)
        return self

    def _prompt_at(self) -> int | None:
        """The last user message with a marker, else the last one with words of the user's own."""
        spoken = [n for n, turn in enumerate(self.turns) if turn.role == "user" and turn.text]
        marked = [n for n in spoken if MARKER_START in self.turns[n].text]
        if marked and not any(
            self.turns[n].role == "assistant" and not self.turns[n].calls for n in _after(self, marked)
        ):
            return marked[-1]
        own = [n for n in spoken if unwrapped(self.turns[n].text) and not self.turns[n].results]
        return own[-1] if own else (spoken[-1] if spoken else None)

    @property
    def wishes(self) -> list[str]:
        """Markers that ask the brain to do something, in order."""
        return [inside for inside in markers(self.prompt) if inside.split(" ", 1)[0] in VERBS]


def _after(conversation: Conversation, marked: list[int]) -> Iterable[int]:
    return range(marked[-1] + 1, len(conversation.turns))


def unwrapped(text: str) -> str:
    """Without the blocks that CLIs add around the user's words."""
    for name in WRAPPERS:
        opening, closing = f"<{name}>", f"</{name}>"
        if opening not in text:
            continue
        kept = []
        rest = text
        while True:
            before, found, after = rest.partition(opening)
            kept.append(before)
            if not found:
                break
            _, _, rest = after.partition(closing)
        text = "".join(kept)
    return text.strip()


def text_of(content: Any) -> str:
    """The words in a string, a block, or a list of either: all dialects' content shapes."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(filter(None, (text_of(item) for item in content)))
    if isinstance(content, dict):
        for key in ("text", "output", "content", "parts", "input_text"):
            if key in content:
                return text_of(content[key])
    return ""
