"""A request that names other models beside the one that answers: each has to be allowed, the dearest is held for, and
what each of them used is charged at its own rates."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataplane.core.money.prices import ModelPrice, PriceList, RateCard, RateTier
from dataplane.core.usage import UsageClass
from tests.proxy.fake_holds import DOLLAR, budget
from tests.proxy.stage import PRICES, Stage, answer, play, post, virtual_key

OPUS = "claude-opus-4-7"
_RATES = {UsageClass.INPUT: 30_000_000, UsageClass.OUTPUT: 150_000_000}
_OPUS = ModelPrice("anthropic", OPUS, (f"{OPUS}*",), (RateCard("", "", 0, 0, (RateTier(0, _RATES),)),))
TEN_TIMES = PriceList(PRICES.id, PRICES.version, (_OPUS, *PRICES.prices), revision=1)
ADVISED = {"tools": [{"type": "advisor_20260301", "name": "advisor", "model": OPUS}]}


def message(**fields: Any) -> bytes:
    said = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **fields}
    return post("/v1/messages", json.dumps(said).encode())


@pytest.mark.parametrize("fields", [ADVISED, {"fallbacks": [{"model": OPUS}]}, {"fallback_models": [OPUS]}])
@pytest.mark.parametrize(("allowed", "status"), [(("claude-sonnet*",), 403), (("claude-*",), 200), ((), 200)])
def test_what_a_key_may_use_holds_for_every_model_that_its_request_names(
    fields: dict[str, Any], allowed: tuple[str, ...], status: int
):
    async def scene() -> None:
        async with Stage(rows=(virtual_key(models_allowed=allowed),)) as stage:
            client = await stage.client()
            if status == 200:
                provider = await stage.asked(client, message(**fields))
                await provider.send(answer(b"{}"))
            else:
                await client.send(message(**fields))
            response = await client.response()
            assert response.status == status
            if status == 403:
                error = json.loads(response.body)["error"]
                assert (error["code"], error["meta"]["model"]) == ("model_not_allowed", OPUS)
                assert stage.nobody_called()

    play(scene())


def test_what_is_held_is_enough_for_the_dearest_that_is_named():
    async def scene() -> None:
        held = []
        for fields in ({}, ADVISED):
            async with Stage(rows=(budget(), TEN_TIMES)) as stage:
                stage.holds.left["bud_1"] = 2 * DOLLAR
                client = await stage.client()
                provider = await stage.asked(client, message(**fields))
                held.append(stage.journal.admitted[0].reserved_nano)
                await provider.send(answer(b"{}"))
                await client.response()
        assert held[1] >= 10 * held[0]

    play(scene())


def test_what_calls_of_a_declared_tool_cost_is_held_too():
    async def scene() -> None:
        held = []
        for tool in ({"name": "nothing_"}, {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}):
            async with Stage(rows=(budget(),)) as stage:
                stage.holds.left["bud_1"] = 2 * DOLLAR
                client = await stage.client()
                provider = await stage.asked(client, message(tools=[tool]))
                held.append(stage.journal.admitted[0].reserved_nano)
                await provider.send(answer(b"{}"))
                await client.response()
        assert held[1] - held[0] >= 2 * 35_000_000  # no rate is known here: the dearest

    play(scene())


_DRAWN = RateCard("", "", 0, 0, (RateTier(0, {UsageClass.OUTPUT_IMAGE: 32_000_000}),))
IMAGES = PriceList(
    PRICES.id, PRICES.version, (ModelPrice("openai", "gpt-image-1", ("gpt-image-1",), (_DRAWN,)), *PRICES.prices), 1
)


@pytest.mark.parametrize("size", ["1024x1024", "1024x1536", "1536x1024", "auto"])
@pytest.mark.parametrize("quality", ["low", "medium", "high", "auto"])
def test_what_an_image_of_a_declared_tool_takes_is_held_too(size: str, quality: str):
    drawn = {"type": "image_generation", "size": size, "quality": quality, "partial_images": 2}
    tokens = {"low": 272, "medium": 1056}.get(quality, 4160) if size == "1024x1024" else 0
    tokens = tokens or {"low": 400, "medium": 1568}.get(quality, 6208)

    async def scene() -> None:
        held = []
        for tool in ({"type": "function", "name": "f"}, drawn):
            said = {"model": "gpt-4.1", "max_output_tokens": 100, "input": "hi", "tools": [tool]}
            async with Stage(rows=(budget(), IMAGES)) as stage:
                stage.holds.left["bud_1"] = 2 * DOLLAR
                client = await stage.client()
                provider = await stage.asked(client, post("/v1/responses", json.dumps(said).encode()))
                held.append(stage.journal.admitted[0].reserved_nano)
                await provider.send(answer(b"{}"))
                await client.response()
        assert held[1] - held[0] >= (tokens + 2 * 100) * 32_000

    play(scene())


def test_a_figure_that_the_list_has_not_is_told_and_not_called_a_price():
    async def scene() -> None:
        usage = {"input_tokens": 1000, "output_tokens": 0, "service_tier": "turbo"}
        said = {"id": "m", "type": "message", "model": "claude-sonnet-4-5", "content": [], "usage": usage}
        async with Stage() as stage:
            client = await stage.client()
            provider = await stage.asked(client, message())
            await provider.send(answer(json.dumps(said).encode()))
            await client.response()
            record = await stage.settled()
            assert (record.cost_nano, record.priced, record.price_version) == (3_000_000, False, PRICES.version)
            assert stage.telemetry.guesses == ["tier"]

    play(scene())
