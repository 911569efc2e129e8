"""What a pod says of models, and that it says of each what a request for it would meet."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dataplane.core.money.prices import PriceList
from dataplane.core.rows import ProviderKind
from tests.core import build
from tests.proxy.stage import MESSAGE, PRICES, Response, Stage, answer, get, play, post

ANTHROPIC = {"anthropic-version": "2023-06-01"}
DAY_MS = 86_400_000
CARDS = PRICES.prices[0].cards


def sold(family: str, model: str, days: int = 0) -> Any:
    return replace(
        PRICES.prices[0], provider=family, model=model, match=(f"{model}*",), cards=CARDS, released_ms=days * DAY_MS
    )


CATALOGUE = PriceList(
    "price_1",
    "test-prices",
    (
        sold("anthropic", "claude-sonnet-4-5", 20_360),
        sold("anthropic", "claude-sonnet-5-5", 20_724),
        sold("openai", "gpt-6-sol", 20_718),
        sold("openai", "gpt-4o", 19_941),
        sold("openai", "text-embedding-3-small", 19_747),
        replace(sold("openai", "gpt-realtime-2", 20_600), unlisted=True),
    ),
    revision=2,
)
ONLY_ANTHROPIC = (CATALOGUE, *(build.provider(f"prov_{name}", name=name, kind=kind, enabled=False, revision=2)
                  for name, kind in (("openai", ProviderKind.OPENAI), ("gemini", ProviderKind.GEMINI))))  # fmt: skip


async def ask(stage: Stage, path: str, headers: dict[str, str] | None = None) -> Response:
    client = await stage.client()
    await client.send(get(path, headers=headers))
    return await client.response("GET")


def said(path: str, headers: dict[str, str] | None = None, rows: tuple[Any, ...] = (CATALOGUE,)) -> Any:
    async def scene() -> Any:
        async with Stage(rows=rows) as stage:
            response = await ask(stage, path, headers)
            assert response.status == 200, response.body
            return json.loads(response.body)

    return play(scene())


def test_claude_codes_picker_gets_the_newest_first_with_their_dates():
    page = said("/v1/models?limit=1000", ANTHROPIC)
    assert [(model["id"], model["created_at"]) for model in page["data"]] == [
        ("claude-sonnet-5-5", "2026-09-28T00:00:00Z"),
        ("claude-sonnet-4-5", "2025-09-29T00:00:00Z"),
    ]
    assert page["has_more"] is False


def test_codexs_picker_offers_no_models_that_cannot_code():
    page = said("/v1/models?client_version=0.169.0")
    assert [model["slug"] for model in page["models"]] == ["gpt-6-sol", "gpt-4o"]


def test_openais_list_is_what_any_route_serves_to_the_key():
    page = said("/v1/models")
    assert [(model["id"], model["owned_by"]) for model in page["data"]] == [
        ("claude-sonnet-5-5", "anthropic"),
        ("gpt-6-sol", "openai"),
        ("claude-sonnet-4-5", "anthropic"),
        ("gpt-4o", "openai"),
        ("text-embedding-3-small", "openai"),
    ]
    assert page["data"][1]["created"] == 20_718 * 86_400


def test_a_bearer_key_of_an_organization_with_anthropic_only_sees_its_models():
    page = said("/v1/models", rows=ONLY_ANTHROPIC)
    assert [model["id"] for model in page["data"]] == ["claude-sonnet-5-5", "claude-sonnet-4-5"]
    assert page["models"] == [], "Codex could not talk to them"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/models/claude-haiku-4-5-20251001", ANTHROPIC),
        ("/v1/models/claude-haiku-4-5-20251001", {}),
        ("/v1/models/gpt-5-mini-2025-08-07", {}),
        ("/v1/models/openai%2Fgpt-6-sol", {}),
        ("/v1/models/gpt-realtime-2", {}),  # not listed, but what is asked for is served
        ("/v1beta/models/gemini-9-flash", {}),
    ],
)
def test_a_model_that_a_request_would_reach_is_there(path: str, headers: dict[str, str]):
    found = said(path, headers)
    name = path.rpartition("/")[2].replace("%2F", "/")
    assert name in (found.get("id"), found.get("baseModelId"))


def test_a_dated_name_has_its_own_date():
    assert said("/v1/models/claude-sonnet-5-5-20261001", ANTHROPIC)["created_at"] == "2026-10-01T00:00:00Z"
    assert said("/v1/models/claude-sonnet-5-5-preview", ANTHROPIC)["created_at"] == "2026-09-28T00:00:00Z"


@pytest.mark.parametrize("name", ["claude-nope", "claude-haiku-4-5-20251001", "nope", "gpt-5"])
def test_asking_for_a_model_and_asking_it_meet_the_same(name: str):
    async def scene() -> None:
        async with Stage(rows=(CATALOGUE,)) as stage:
            one = await ask(stage, f"/v1/models/{name}", ANTHROPIC)
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE.replace(b"claude-sonnet-4-5", name.encode())))
            if one.status == 200:
                provider = await stage.provider()
                await provider.request()
                await provider.send(answer(b"{}"))
            asked = await client.response()
            assert asked.status == one.status
            if one.status != 200:
                errors = [json.loads(response.body)["error"] for response in (one, asked)]
                assert errors[0] == errors[1]

    play(scene())


def test_a_cursor_that_names_no_model_is_a_bad_request_in_words():
    async def scene() -> None:
        async with Stage(rows=(CATALOGUE,)) as stage:
            response = await ask(stage, "/v1/models?after_id=claude-gone", ANTHROPIC)
            assert (response.status, json.loads(response.body)["error"]["type"]) == (400, "invalid_request_error")

    play(scene())
