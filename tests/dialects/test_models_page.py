from __future__ import annotations

import json

import pytest

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.count_tokens import estimated_count
from dataplane.dialects.dialect import DialectName, ListedModel
from dataplane.dialects.models_page import models_page
from tests.dialects.metering import FACTS

MODELS = [
    ListedModel("big", "aliases", 1_790_000_000),
    *(ListedModel(f"claude-{n:02}", "anthropic", 0) for n in range(25)),
]

# codex-rs/protocol/src/openai_models.rs: the fields of ModelInfo without a default
CODEX_REQUIRED = {
    "slug": str, "display_name": str, "supported_reasoning_levels": list, "shell_type": str, "visibility": str,
    "supported_in_api": bool, "priority": int, "base_instructions": str, "supports_reasoning_summaries": bool,
    "support_verbosity": bool, "truncation_policy": dict, "supports_parallel_tool_calls": bool,
    "experimental_supported_tools": list,
}  # fmt: skip


def page(dialect: DialectName, query: str = "", model: str = ""):
    return json.loads(models_page(dialect, MODELS, query, model))


def test_openai_callers_get_their_list_and_codex_its_own_in_one_answer():
    found = page(DialectName.CHAT)
    assert found["object"] == "list"
    assert found["data"][0] == {"id": "big", "object": "model", "created": 1_790_000_000, "owned_by": "aliases"}
    assert [each["id"] for each in found["data"]] == [each["slug"] for each in found["models"]]
    for number, model in enumerate(found["models"]):
        assert all(type(model[name]) is kind for name, kind in CODEX_REQUIRED.items())
        assert set(model["truncation_policy"]) == {"mode", "limit"}
        assert all(set(level) == {"effort", "description"} for level in model["supported_reasoning_levels"])
        assert model["priority"] == number


def test_anthropics_list_pages_by_cursor():
    first = page(DialectName.ANTHROPIC)
    assert len(first["data"]) == 20
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, "big", "claude-18")
    assert first["data"][0] == {
        "type": "model", "id": "big", "display_name": "big", "created_at": "2026-09-21T14:13:20Z",
    }  # fmt: skip
    second = page(DialectName.ANTHROPIC, f"after_id={first['last_id']}")
    assert [each["id"] for each in second["data"]] == [f"claude-{n}" for n in range(19, 25)]
    assert second["has_more"] is False
    back = page(DialectName.ANTHROPIC, "before_id=claude-19&limit=2")
    assert [each["id"] for each in back["data"]] == ["claude-17", "claude-18"]
    assert len(page(DialectName.ANTHROPIC, "limit=1000")["data"]) == 26
    empty = json.loads(models_page(DialectName.ANTHROPIC, [], "limit=nonsense"))
    assert empty == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_geminis_list_pages_by_token():
    first = page(DialectName.GEMINI, "pageSize=20")
    assert first["models"][1]["name"] == "models/claude-00"
    assert "streamGenerateContent" in first["models"][1]["supportedGenerationMethods"]
    second = page(DialectName.GEMINI, f"pageSize=20&pageToken={first['nextPageToken']}")
    assert len(second["models"]) == 6
    assert "nextPageToken" not in second


def test_one_model_by_its_id_in_every_shape():
    assert page(DialectName.CHAT, model="big")["owned_by"] == "aliases"
    assert page(DialectName.ANTHROPIC, model="big")["type"] == "model"
    assert page(DialectName.GEMINI, model="big")["baseModelId"] == "big"
    with pytest.raises(Refusal) as refused:
        page(DialectName.CHAT, model="bigger")
    assert refused.value.code is Code.MODEL_NOT_RECOGNIZED


def test_a_model_that_is_listed_twice_appears_once():
    found = json.loads(models_page(DialectName.CHAT, [*MODELS, *MODELS], ""))
    assert len(found["data"]) == len(MODELS)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (DialectName.ANTHROPIC, {"input_tokens": 90_000}),
        (DialectName.GEMINI, {"totalTokens": 90_000}),
        (DialectName.RESPONSES, {"object": "response.input_tokens", "input_tokens": 90_000}),
    ],
)
def test_an_estimated_count_is_the_upper_bound_in_the_dialects_shape(dialect, body):
    assert json.loads(estimated_count(dialect, FACTS)) == body
