from __future__ import annotations

import json

import pytest

from dataplane.core.catalogue import Use
from dataplane.core.errors import Code, Refusal
from dataplane.dialects.count_tokens import estimated_count
from dataplane.dialects.dialect import DialectName, ListedModel
from dataplane.dialects.models_page import model_entry, models_page
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


def page(dialect: DialectName, query: str = ""):
    return json.loads(models_page(dialect, MODELS, query, MODELS[:3]))


def test_openai_callers_get_their_list_and_codex_its_own_in_one_answer():
    found = page(DialectName.CHAT)
    assert found["object"] == "list"
    assert found["data"][0] == {"id": "big", "object": "model", "created": 1_790_000_000, "owned_by": "aliases"}
    assert [each["id"] for each in found["data"]] == [each.id for each in MODELS]
    assert [each["slug"] for each in found["models"]] == [each.id for each in MODELS[:3]]
    for number, model in enumerate(found["models"]):
        assert all(type(model[name]) is kind for name, kind in CODEX_REQUIRED.items())
        assert set(model["truncation_policy"]) == {"mode", "limit"}
        assert all(set(level) == {"effort", "description"} for level in model["supported_reasoning_levels"])
        assert model["priority"] == number


def ids(query: str) -> list[str]:
    return [each["id"] for each in page(DialectName.ANTHROPIC, query)["data"]]


def test_anthropics_list_is_one_page_below_a_hundred_and_pages_by_cursor():
    whole = page(DialectName.ANTHROPIC)
    assert (len(whole["data"]), whole["has_more"]) == (26, False)
    assert (whole["first_id"], whole["last_id"]) == ("big", "claude-24")
    assert whole["data"][0] == {
        "type": "model", "id": "big", "display_name": "big", "created_at": "2026-09-21T14:13:20Z",
    }  # fmt: skip
    first = page(DialectName.ANTHROPIC, "limit=20")
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, "big", "claude-18")
    second = page(DialectName.ANTHROPIC, f"limit=20&after_id={first['last_id']}")
    assert [each["id"] for each in second["data"]] == [f"claude-{n}" for n in range(19, 25)]
    assert second["has_more"] is False
    back = page(DialectName.ANTHROPIC, "before_id=claude-19&limit=2")
    assert [each["id"] for each in back["data"]] == ["claude-17", "claude-18"]
    assert back["has_more"] is True
    assert page(DialectName.ANTHROPIC, "before_id=claude-01&limit=2")["has_more"] is False
    assert ids("after_id=claude-24") == []
    assert ids("before_id=big") == []
    assert len(ids("limit=1000")) == 26
    many = [ListedModel(f"m{n}", "p", 0) for n in range(150)]
    assert len(json.loads(models_page(DialectName.ANTHROPIC, many, ""))["data"]) == 100
    empty = json.loads(models_page(DialectName.ANTHROPIC, [], "limit=nonsense"))
    assert empty == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize("limit", [1, 2, 7, 25, 26, 27])
def test_pages_of_any_size_give_the_whole_list_in_both_directions(limit):
    for cursor, edge in (("after_id", "last_id"), ("before_id", "first_id")):
        found: list[str] = []
        at = ""
        while True:
            start = at if at or cursor == "after_id" else "claude-24"
            asked = f"limit={limit}" + (f"&{cursor}={start}" if start else "")
            got = page(DialectName.ANTHROPIC, asked)
            names = [each["id"] for each in got["data"]]
            found = [*found, *names] if cursor == "after_id" else [*names, *found]
            if not got["has_more"]:
                break
            at = got[edge]
        assert found == [model.id for model in (MODELS if cursor == "after_id" else MODELS[:-1])]


@pytest.mark.parametrize("cursor", ["after_id", "before_id"])
def test_a_cursor_of_another_list_is_said_to_be_none(cursor):
    """A picker that was given the first page again would ask for ever."""
    with pytest.raises(Refusal) as refused:
        page(DialectName.ANTHROPIC, f"{cursor}=gone")
    assert refused.value.code is Code.BAD_REQUEST
    assert cursor in refused.value.message


def test_geminis_list_pages_by_token():
    first = page(DialectName.GEMINI, "pageSize=20")
    assert first["models"][1]["name"] == "models/claude-00"
    assert "streamGenerateContent" in first["models"][1]["supportedGenerationMethods"]
    second = page(DialectName.GEMINI, f"pageSize=20&pageToken={first['nextPageToken']}")
    assert len(second["models"]) == 6
    assert "nextPageToken" not in second


def test_one_model_by_its_id_in_every_shape():
    def one(dialect: DialectName, model: ListedModel = MODELS[0]):
        return json.loads(model_entry(dialect, model))

    assert one(DialectName.CHAT)["owned_by"] == "aliases"
    assert one(DialectName.ANTHROPIC)["type"] == "model"
    assert one(DialectName.GEMINI)["baseModelId"] == "big"
    embedder = ListedModel("e", "google", 0, Use.EMBEDDINGS)
    assert one(DialectName.GEMINI, embedder)["supportedGenerationMethods"] == ["embedContent"]


def test_a_model_without_a_date_says_so_as_anthropic_does():
    assert json.loads(model_entry(DialectName.ANTHROPIC, MODELS[1]))["created_at"] == "1970-01-01T00:00:00Z"


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
