"""Decides what a simulated model says: what the prompt's markers wish, with the client's own tools, or what this is."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tests.simprovider import aider
from tests.simprovider.conversation import Conversation
from tests.simprovider.hands import call_for, run_call, write_call
from tests.simprovider.script import Call, Script

RESULT_CHARS = 2_000
# Words of the system prompts with which CLIs ask for small things beside the user's turn, and fitting answers.
SIDE_CALLS = (
    ("isNewTopic", '{"isNewTopic": true, "title": "Simulated session"}'),
    ("commit message", "feat: add the marker file"),
    ("title generator", "Simulated session"),
    ("determine the prefix of a Bash command", "none"),
    ("Extract any file paths that this command reads", "<is_displaying_contents>false</is_displaying_contents>"),
)
CREATE = re.compile(
    r"(?i)\b(?:create|write|make) (?:a |the )?(?:new )?(?:file )?(?:named |called )?"
    r"[`'\"]?([\w./-]{1,200}\.\w{1,10})[`'\"]?"
)
CONTAINING = re.compile(
    r"(?i)\b(?:containing|with(?: the)?(?: text| content| words)?|that says)[: ]{1,3}[`'\"]?([^`'\"\n]{1,500})"
)
RUN = re.compile(r"(?i)\b(?:run|execute)(?: the command)?:? {0,3}`([^`\n]{1,500})`")

NOTICE = """This is the built-in simulator of AI Gateway answering, not a language model.

Your request went from your client through the gateway ({dialect}, model {model}) and was answered here. \
It is counted and priced like any other: look at Usage in the admin.

You said: {prompt}

Things that it can do with your client's own tools, for trying the gateway out:
- Run `ls -la`
- Create hello.txt containing hello from the gateway

To talk to a real provider, stop the demo, set ANTHROPIC_API_KEY, OPENAI_API_KEY or GEMINI_API_KEY \
in the environment and start it again, or add a provider with its key in the admin under Providers."""


@dataclass(slots=True)
class Reply:
    """What will be said: thinking first, then text, then tool calls. `stop`: end, tool, length or filter."""

    text: str = ""
    thinking: str = ""
    calls: list[Call] = field(default_factory=list)
    stop: str = "end"
    deltas: Sequence[str] = ()


def reply(conversation: Conversation, script: Script, dialect: str) -> Reply:
    """The whole decision. A script's own words and calls win over what the prompt wishes."""
    answer = _scripted(script) or _side_call(conversation) or _wished(conversation) or _explained(conversation, dialect)
    if script.thinking or (conversation.thinks and not conversation.schema and not script.canned):
        answer.thinking = script.thinking or "The simulator considers the request and picks an answer."
    if script.stop:
        answer.stop = script.stop
    answer.deltas = answer.deltas or _pieces(answer.text, script.delta_chars)
    return answer


def _scripted(script: Script) -> Reply | None:
    if script.calls:
        return Reply(text=script.text, calls=script.calls, stop="tool")
    if script.events:
        text, words = counted_words(script.events)
        return Reply(text=text, deltas=words)
    if script.text_bytes:
        return Reply(
            text=("The quick brown fox jumps over the lazy dog. " * (script.text_bytes // 45 + 1))[: script.text_bytes]
        )
    return Reply(text=script.text) if script.text else None


@lru_cache(maxsize=32)
def counted_words(count: int) -> tuple[str, tuple[str, ...]]:
    """The same long answer for everyone who asks for it, made once."""
    words = tuple(f"word{n % 1000} " for n in range(count))
    return "".join(words), words


def _pieces(text: str, size: int) -> list[str]:
    """Deltas of a sensible size: words for a short text, never more than about 2,000 for a huge one."""
    size = size or max(24, len(text) // 2_000)
    return [text[at : at + size] for at in range(0, len(text), size)]


def _side_call(conversation: Conversation) -> Reply | None:
    """Titles, topics, routers, commit messages: what CLIs ask beside the user's turn."""
    if conversation.schema is not None and not (conversation.tools and conversation.wishes):
        return Reply(text=json.dumps(instance(conversation.schema, conversation.schema)))
    if conversation.tools:
        return None
    system = (conversation.system or conversation.prompt)[:4_000]
    if conversation.prompt == "Warmup":
        return Reply(text="Ready.")
    for known, answer in SIDE_CALLS:
        if known in system and "SEARCH/REPLACE" not in system:
            return Reply(text=answer)
    if conversation.wants_json and not conversation.wishes:
        return Reply(text='{"answer": "simulated"}')
    return None


def _wished(conversation: Conversation) -> Reply | None:
    wishes = conversation.wishes or _plain_wishes(conversation)
    if not wishes:
        return None
    if conversation.turn > len(wishes):
        return _told(conversation)
    call: Call | None
    verb, _, rest = wishes[conversation.turn - 1].partition(" ")
    if verb == "say":
        return Reply(text=rest)
    if not conversation.tools:
        if verb == "write":
            return Reply(text=aider.edit(conversation.system, rest))
        return Reply(text=f"Your client offers no tool to {verb} {rest} with.")
    if verb == "tool":
        name, _, arguments = rest.partition(" ")
        call = call_for(conversation.tools, name, arguments)
    elif verb == "run":
        call = run_call(conversation.tools, rest)
    else:
        path, _, content = rest.partition(" ")
        call = write_call(conversation.tools, path, content)
    if call is None:
        offered = ", ".join(tool.name for tool in conversation.tools)[:500]
        return Reply(text=f"The client offers no tool that can {verb}: it has {offered}.")
    return Reply(text="I will do that now.", calls=[call], stop="tool")


def _plain_wishes(conversation: Conversation) -> list[str]:
    """What a person asks for in words, so that the demo does something to look at."""
    prompt = conversation.prompt[:2_000]
    if not conversation.tools and "SEARCH/REPLACE" not in conversation.system:
        return []
    if found := RUN.search(prompt):
        return [f"run {found[1]}"]
    if found := CREATE.search(prompt):
        containing = CONTAINING.search(prompt)
        return [f"write {found[1]} {containing[1].strip() if containing else 'Hello from the simulator.'}"]
    return []


def _told(conversation: Conversation) -> Reply:
    said = "\n".join(conversation.results)[-RESULT_CHARS:].strip()
    return Reply(
        text=f"Done: the built-in simulator had your client run a tool, which answered:\n\n{said or '(nothing)'}"
    )


def _explained(conversation: Conversation, dialect: str) -> Reply:
    prompt = " ".join(conversation.prompt.split())[:300] or "(nothing)"
    return Reply(text=NOTICE.format(dialect=dialect, model=conversation.model, prompt=prompt))


def instance(schema: Any, root: Any, depth: int = 0) -> Any:
    """A small value that satisfies a JSON schema, for structured answers."""
    if not isinstance(schema, dict) or depth > 8:
        return None
    if "$ref" in schema:
        target: Any = root
        for step in str(schema["$ref"]).lstrip("#/").split("/"):
            target = target.get(step, {}) if isinstance(target, dict) else {}
        return instance(target, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return instance(schema[key][0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = str(kind[0] if isinstance(kind, list) else kind).lower()
    if kind == "object":
        return {name: instance(part, root, depth + 1) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [instance(schema.get("items", {}), root, depth + 1)] * int(schema.get("minItems", 0))
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return {"boolean": False, "null": None}.get(kind, "Simulated session")
