"""The clients: the detection table and the session ids of the coding CLIs, as measured by running them.

Aider and Cline name only the library that they are built with: they count as `openai_python` (`litellm` where they
speak another dialect) and `ai_sdk`, as every program built with these does.

Header mappings have lower-case names, names and values are bytes, as the proxy reads them off the wire.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from dataplane.dialects.dialect import Client, RequestFacts
from dataplane.dialects.scan import UNREADABLE

CLAUDE_CODE = "claude_code"
CODEX = "codex"
GEMINI_CLI = "gemini_cli"
OPENCODE = "opencode"
QWEN_CODE = "qwen_code"
CURSOR = "cursor"
CONTINUE = "continue"
OPENAI_PYTHON = "openai_python"
OPENAI_JS = "openai_js"
AI_SDK = "ai_sdk"
LITELLM = "litellm"
OTHER = "other"

# first match wins: opencode's user agent also names ai-sdk
_USER_AGENTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (CLAUDE_CODE, re.compile(r"claude-(?:cli|code)/([\w.\-]+)")),
    (CODEX, re.compile(r"codex[\w\-]*(?:/([\w.\-]+))?", re.IGNORECASE)),
    (GEMINI_CLI, re.compile(r"GeminiCLI[\w\-]*(?:/([\w.\-]+))?")),
    (OPENCODE, re.compile(r"opencode/([\w.\-]+)")),
    (QWEN_CODE, re.compile(r"QwenCode/([\w.\-]+)")),
    (OPENAI_PYTHON, re.compile(r"(?:Async)?OpenAI/Python ([\w.\-]+)")),
    (LITELLM, re.compile(r"litellm/([\w.\-]+)")),
    (OPENAI_JS, re.compile(r"OpenAI/JS ([\w.\-]+)")),
    (CONTINUE, re.compile(r"ls/JS ([\w.\-]+)")),  # the same class, as Continue's build shortens its name
)
_AI_SDK = re.compile(r"\bai-sdk/(?:[\w.\-]+/)?([\w.\-]+)")
_GEMINI_IN_IDE = re.compile(r"\bproxy_client=geminicli\b")
_BUN = re.compile(r"Bun/([\w.\-]+)")
_NAMELESS = frozenset({OTHER, OPENAI_JS, OPENAI_PYTHON})
_AGENT_LENGTH = 512
_SESSION_HEADERS = (b"x-claude-code-session-id", b"session-id", b"session_id", b"x-session-id", b"x-session-affinity")
_SESSION = re.compile(r"[\x21-\x7e]{1,256}")
_SESSION_IN_USER_ID = re.compile(r"_session_([A-Za-z0-9\-]{1,128})\Z")


class _UserId(msgspec.Struct):
    session_id: str = ""


_user_id = msgspec.json.Decoder(_UserId)


def detect(headers: Mapping[bytes, bytes], facts: RequestFacts | None = None, prefix: str = "") -> Client:
    """Pure in the headers; `facts` add the session that only the body names, `prefix` is the route's."""
    name, version = _name(
        headers.get(b"user-agent", b"")[:_AGENT_LENGTH],
        headers.get(b"originator", b"")[:5],
        headers.get(b"x-app") == b"cli",
        b"x-claude-code-session-id" in headers,
    )
    if prefix == "/cursor" and name in _NAMELESS:
        name, version = CURSOR, ""
    return Client(name, version, _session(headers, facts))


def shown_by_its_body(client: Client) -> Client:
    """Cursor's servers name no product, but no other client posts such a body to that route."""
    return Client(CURSOR, "", client.session) if client.name in _NAMELESS else client


def session_of_user_id(user_id: object) -> str:
    """The session in Anthropic's `metadata.user_id`: a JSON text, or `user_<hash>_account_<…>_session_<uuid>`."""
    if not isinstance(user_id, str) or not user_id or len(user_id) > 4096:
        return ""
    if user_id.startswith("{"):
        try:
            return clean_session(_user_id.decode(user_id).session_id)
        except UNREADABLE:
            return ""
    match = _SESSION_IN_USER_ID.search(user_id)
    return match.group(1) if match else ""


@lru_cache(maxsize=1024)
def _name(user_agent: bytes, originator: bytes, cli: bool, claude_session: bool) -> tuple[str, str]:
    """A few dozen versions of a few clients come again and again."""
    name, version = _recognized(user_agent.decode("latin-1"), originator, cli, claude_session)
    return name, version[:64]


def _recognized(agent: str, originator: bytes, cli: bool, claude_session: bool) -> tuple[str, str]:
    for name, pattern in _USER_AGENTS:
        match = pattern.match(agent)
        if match:
            return name, match.group(1) or ""
    if originator.lower() == b"codex":
        return CODEX, ""
    if _GEMINI_IN_IDE.search(agent):
        return GEMINI_CLI, ""
    if cli or (_BUN.match(agent) and claude_session):
        return CLAUDE_CODE, ""
    library = _AI_SDK.search(agent)
    return (AI_SDK, library.group(1)) if library else (OTHER, "")


def _session(headers: Mapping[bytes, bytes], facts: RequestFacts | None) -> str:
    for header in _SESSION_HEADERS:
        if header in headers and (value := clean_session(headers[header].decode("latin-1"))):
            return value
    if facts is not None and facts.session:
        return facts.session
    own = headers.get(b"x-langwatch-session-id")
    return clean_session(own.decode("latin-1")) if own else ""


def clean_session(value: str) -> str:
    """The id when it is one: up to 256 printable characters without a space; else nothing."""
    value = value.strip()
    return value if _SESSION.fullmatch(value) else ""
