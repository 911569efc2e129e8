"""`/v1/models` and `/v1/models/{id}` in the shapes that callers parse: Anthropic's, OpenAI's together with Codex's,
Gemini's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qs

import msgspec

from dataplane.core.catalogue import Use
from dataplane.core.errors import Code, Refusal
from dataplane.dialects.dialect import DialectName, ListedModel

_EFFORTS = [{"effort": effort, "description": effort.capitalize()} for effort in ("low", "medium", "high")]
_METHODS = ["generateContent", "streamGenerateContent", "countTokens"]


def models_page(
    dialect: DialectName, models: Sequence[ListedModel], query: str, codex: Sequence[ListedModel] = ()
) -> bytes:
    """`dialect` is the route's (registry); `models` in the order in which to offer them. `query` without `?`. `codex`:
    what the same answer offers to Codex, which picks coding models from it. Raises Refusal(BAD_REQUEST)."""
    listed = list({model.id: model for model in models}.values())
    if dialect is DialectName.ANTHROPIC:
        return msgspec.json.encode(_anthropic_page(listed, query))
    entries = [_entry(dialect, model) for model in listed]
    if dialect is DialectName.GEMINI:
        return msgspec.json.encode(_gemini_page(entries, query))
    offered = [_codex_model(model, priority) for priority, model in enumerate(codex)]
    return msgspec.json.encode({"object": "list", "data": entries, "models": offered})


def model_entry(dialect: DialectName, model: ListedModel) -> bytes:
    """One model by its id."""
    return msgspec.json.encode(_entry(dialect, model))


def _entry(dialect: DialectName, model: ListedModel) -> dict[str, object]:
    if dialect is DialectName.ANTHROPIC:
        created = datetime.fromtimestamp(model.created, UTC).isoformat().replace("+00:00", "Z")
        return {"type": "model", "id": model.id, "display_name": model.id, "created_at": created}
    if dialect is DialectName.GEMINI:
        embeds = model.use is Use.EMBEDDINGS
        return {
            "name": f"models/{model.id}",
            "baseModelId": model.id,
            "version": "001",
            "displayName": model.id,
            "supportedGenerationMethods": ["embedContent"] if embeds else _METHODS,
        }
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by}


def _anthropic_page(listed: Sequence[ListedModel], query: str) -> dict[str, object]:
    """Anthropic's cursor pages: `limit` (100 when not said, for not every picker asks for a second page; at most 1000),
    `after_id`, `before_id`. `has_more`: in the direction that was asked for."""
    parameters = _parameters(query)
    limit = min(max(_number(parameters.get("limit", "")) or 100, 1), 1000)
    ids = [model.id for model in listed]
    after, before = parameters.get("after_id", ""), parameters.get("before_id", "")
    for name, cursor in (("after_id", after), ("before_id", before)):
        if cursor and cursor not in ids:
            raise Refusal(Code.BAD_REQUEST, f"{name} names no model of this list")
    if before:
        stop = ids.index(before)
        start = max(stop - limit, 0)
        more = start > 0
    else:
        start = ids.index(after) + 1 if after else 0
        stop = min(start + limit, len(ids))
        more = stop < len(ids)
    page = listed[start:stop]
    return {
        "data": [_entry(DialectName.ANTHROPIC, model) for model in page],
        "has_more": more,
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


def _gemini_page(entries: Sequence[dict[str, object]], query: str) -> dict[str, object]:
    parameters = _parameters(query)
    size = min(max(_number(parameters.get("pageSize", "")) or 50, 1), 1000)
    start = _number(parameters.get("pageToken", ""))
    page: dict[str, object] = {"models": entries[start : start + size]}
    if start + size < len(entries):
        page["nextPageToken"] = str(start + size)
    return page


def _codex_model(model: ListedModel, priority: int) -> dict[str, object]:
    """Every field that Codex's deserialiser insists on (codex-rs/protocol `ModelInfo`). Empty instructions keep its
    own."""
    return {
        "slug": model.id,
        "display_name": model.id,
        "description": None,
        "default_reasoning_level": "medium",
        "supported_reasoning_levels": _EFFORTS,
        "shell_type": "shell_command",
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        "upgrade": None,
        "base_instructions": "",
        "supports_reasoning_summaries": True,
        "support_verbosity": False,
        "default_verbosity": None,
        "apply_patch_tool_type": "freeform",
        "truncation_policy": {"mode": "tokens", "limit": 10_000},
        "supports_parallel_tool_calls": True,
        "context_window": 272_000,
        "experimental_supported_tools": [],
        "input_modalities": ["text", "image"],
    }


def _parameters(query: str) -> dict[str, str]:
    return {key: values[-1] for key, values in parse_qs(query[:4096], max_num_fields=64).items()}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
