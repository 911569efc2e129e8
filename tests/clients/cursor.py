"""Requests as Cursor is reported to send them with an overridden base URL: from public sources, never compared with it.

Ask mode posts Chat Completions whose tools mix nested functions with a flat custom one. Agent mode posts a body shaped
as for Responses to the same route and wants Chat Completions chunks back (forum.cursor.com t/153019, t/159298).
"""

from __future__ import annotations

from typing import Any

GRAMMAR = 'start: "*** Begin Patch" LF hunk+ "*** End Patch" LF?'
READ_FILE: dict[str, Any] = {
    "name": "read_file",
    "description": "Read a file.",
    "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
APPLY_PATCH: dict[str, Any] = {
    "type": "custom",
    "name": "ApplyPatch",
    "description": "Apply a patch.",
    "format": {"type": "grammar", "syntax": "lark", "definition": GRAMMAR},
}
PATCH = "*** Begin Patch\n*** Add File: a.txt\n+hi\n*** End Patch\n"


def ask_mode(model: str, text: str) -> dict[str, Any]:
    """A real Chat Completions body, but for the flat custom tool."""
    return {
        "model": model,
        "messages": [{"role": "system", "content": "You are a coding assistant."}, {"role": "user", "content": text}],
        "tools": [{"type": "function", "function": READ_FILE}, APPLY_PATCH],
        "tool_choice": "auto",
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "auth0|user_0123456789",
    }


def agent_mode(model: str, text: str) -> dict[str, Any]:
    """Responses-shaped, with Chat Completions' `stream_options` in it."""
    return {
        "model": model,
        "input": [
            {"role": "system", "content": "You are a coding agent."},
            {"role": "user", "content": [{"type": "input_text", "text": text}]},
        ],
        "tools": [{"type": "function", **READ_FILE, "strict": False}, APPLY_PATCH],
        "tool_choice": "auto",
        "store": False,
        "stream": True,
        "stream_options": {"include_usage": True},
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "medium", "summary": "auto"},
        "text": {"verbosity": "low"},
        "truncation": "auto",
        "previous_response_id": None,
        "prompt_cache_retention": "24h",
        "user": "auth0|user_0123456789",
    }
