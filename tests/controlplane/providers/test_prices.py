"""Price lists as rows: compiled when stale, pushed when different, an organization's own where it has prices."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from controlplane.changes.models import ConfigChange
from controlplane.changes.queries import head
from controlplane.providers import price_actions, prices
from controlplane.providers.models import PriceList, PriceOverride
from controlplane.providers.price_compiler import compile_prices
from controlplane.providers.price_entries import entries_of
from controlplane.providers.queries import installation_price_list, price_list_id_of
from controlplane.providers.tasks import compile_price_lists
from controlplane.tenancy.models import Role
from controlplane.tenancy.permissions import Forbidden
from dataplane.core.money.prices import ModelPrice, RateCard, RateTier
from dataplane.core.usage import UsageClass
from protos import fleet_pb2 as wire
from tests.controlplane import factories

SYSTEM = factories.SYSTEM


@pytest.fixture(autouse=True)
def two_families(monkeypatch):
    """Enough of the library to tell lists apart; the compiler's own tests take all of it."""
    monkeypatch.setattr(prices, "compile_prices", partial(compile_prices, families=("anthropic", "openai")))


def touched_since(revision: int) -> set[tuple[str, str]]:
    return set(ConfigChange.objects.filter(revision__gt=revision).values_list("kind", "resource_id"))


def rates(price_list: PriceList, provider: str, model: str) -> dict[str, int]:
    entry = next(entry for entry in price_list.prices if (entry["provider"], entry["model"]) == (provider, model))
    return dict(entry["cards"][-1]["tiers"][0]["rates_pico"])


def test_the_installations_list_is_compiled_once_and_every_organization_told(db):
    organization = factories.organization()
    assert price_list_id_of(organization.pk) == ""
    before = head().revision
    assert compile_price_lists() == 1
    shared = installation_price_list()
    assert shared is not None
    assert price_list_id_of(organization.pk) == shared.pk
    assert touched_since(before) == {("price_list", shared.pk), ("organization", organization.pk)}
    assert rates(shared, "anthropic", "claude-opus-4-5")["output"] == 25_000_000
    before = head().revision
    assert compile_price_lists() == 0
    assert head().revision == before


def test_every_entry_is_a_message_of_the_wire(db):
    compile_price_lists()
    shared = installation_price_list()
    assert shared is not None
    for entry in shared.prices:
        message = wire.ModelPrice(**entry)
        assert all(card.tiers for card in message.cards)


def test_an_override_gives_an_organization_its_own_list_until_it_is_removed(db):
    compile_price_lists()
    shared = installation_price_list()
    assert shared is not None
    organization, other = factories.organization(), factories.organization()
    row = price_actions.put_override(
        by=SYSTEM,
        organization=organization,
        provider="anthropic",
        model="my-claude",
        rates={"input": "1", "output": "2.5"},
    )
    before = head().revision
    assert compile_price_lists() == 1
    own = PriceList.objects.get(organization=organization)
    assert touched_since(before) == {("price_list", own.pk), ("organization", organization.pk)}
    assert rates(own, "anthropic", "my-claude")["output"] == 2_500_000
    assert (price_list_id_of(organization.pk), price_list_id_of(other.pk)) == (own.pk, shared.pk)
    price_actions.remove_override(row, by=SYSTEM)
    before = head().revision
    assert compile_price_lists() == 1
    assert price_list_id_of(organization.pk) == shared.pk
    assert touched_since(before) == {("price_list", own.pk), ("organization", organization.pk)}


def test_an_override_put_again_replaces_the_price(db):
    organization = factories.organization()
    make: dict[str, Any] = {"by": SYSTEM, "organization": organization, "provider": "openai", "model": "gpt-own"}
    price_actions.put_override(**make, rates={"input": "1", "output": "1"})
    compile_price_lists()
    price_actions.put_override(**make, rates={"input": "2", "output": "3"})
    assert PriceOverride.objects.count() == 1
    assert compile_price_lists() == 1
    assert rates(PriceList.objects.get(organization=organization), "openai", "gpt-own")["input"] == 2_000_000


def test_a_discount_for_one_provider_starts_from_its_kinds_list_prices(db):
    organization = factories.organization()
    provider = factories.provider(organization, name="claude-eu")
    price_actions.put_override(
        by=SYSTEM, organization=organization, provider="@claude-eu", model="*", discount_percent=Decimal(20)
    )
    compile_price_lists()
    own = PriceList.objects.get(organization=organization)
    assert rates(own, f"@{provider.name}", "claude-opus-4-5")["output"] == 20_000_000
    assert rates(own, "anthropic", "claude-opus-4-5")["output"] == 25_000_000


def test_an_own_factor_for_a_place_is_in_the_list_that_pods_get(db):
    organization = factories.organization()
    price_actions.put_override(
        by=SYSTEM, organization=organization, provider="anthropic", model="claude-*", geo_percent={" EU ": "120"}
    )
    compile_price_lists()
    entries = PriceList.objects.get(organization=organization).prices
    places = {entry["model"]: entry.get("geo_percent") for entry in entries if entry["provider"] == "anthropic"}
    assert places["claude-sonnet-4-6"] == {"us": 110, "eu": 120}
    assert places["claude-haiku-4-5"] == {"eu": 120}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"rates": {"input": "0", "output": "1"}}, "rates", "above 0"),
        ({"rates": {"input": "501", "output": "1"}}, "rates", "at most 500"),
        ({"rates": {"input": "-1", "output": "1"}}, "rates", "above 0"),
        ({"rates": {"input": "NaN", "output": "1"}}, "rates", "above 0"),
        ({"rates": {"input": "a lot", "output": "1"}}, "rates", "not an amount"),
        ({"rates": {"input": "1"}}, "rates", "input and output are needed"),
        ({"rates": {"inputs": "1", "output": "1"}}, "rates", "inputs"),
        ({}, "rates", "either rates or a discount"),
        ({"discount_percent": 100}, "rates", "between 0 and 100"),
        ({"geo_percent": {"us": "a lot"}}, "rates", "not an amount"),
        ({"geo_percent": {"us": "110.5"}}, "rates", "whole number"),
        ({"tier_percent": {"flex": "NaN"}}, "rates", "whole number"),
        ({"provider": "@nobody", "discount_percent": 10}, "provider", "must be one of: anthropic"),
        ({"provider": "anthropik", "discount_percent": 10}, "provider", "must be one of"),
    ],
)
def test_a_price_that_cannot_be_meant_is_refused_in_words(db, fields, field, words):
    with pytest.raises(ValidationError) as refused:
        price_actions.put_override(
            **{"by": SYSTEM, "organization": factories.organization(), "provider": "openai", "model": "m"} | fields
        )
    assert words in str(refused.value.message_dict[field])
    assert not PriceOverride.objects.exists()


def test_prices_are_the_admins_to_set(db):
    organization = factories.organization()
    viewer, _ = factories.member(organization, Role.VIEWER)
    with pytest.raises(Forbidden):
        price_actions.put_override(
            by=viewer, organization=organization, provider="openai", model="m", rates={"input": "1", "output": "1"}
        )


def test_an_override_that_changes_while_its_list_is_compiled_is_left_to_the_next_round(db, monkeypatch):
    organization = factories.organization()
    make: dict[str, Any] = {"by": SYSTEM, "organization": organization, "provider": "openai", "model": "gpt-own"}
    price_actions.put_override(**make, rates={"input": "1", "output": "1"})
    compile_price_lists()
    price_actions.put_override(**make, rates={"input": "2", "output": "2"})
    compiled = partial(compile_prices, families=("openai",))

    def slowly(*args, **kwargs):
        result = compiled(*args, **kwargs)
        price_actions.put_override(**make, rates={"input": "3", "output": "3"})
        monkeypatch.setattr(prices, "compile_prices", compiled)
        return result

    monkeypatch.setattr(prices, "compile_prices", slowly)
    assert compile_price_lists() == 0
    assert compile_price_lists() == 1
    assert rates(PriceList.objects.get(organization=organization), "openai", "gpt-own")["input"] == 3_000_000


def test_an_entry_keeps_everything_that_pricing_needs():
    price = ModelPrice(
        "openai",
        "m",
        ("m*", "!m-tts"),
        (RateCard("priority", "fast", 1, 2, (RateTier(0, {UsageClass.INPUT: 3}), RateTier(200_000, {}))),),
        released_ms=4,
        unlisted=True,
    )
    assert entries_of([price]) == [
        {
            "provider": "openai",
            "model": "m",
            "match": ["m*", "!m-tts"],
            "cards": [
                {
                    "service_tier": "priority",
                    "speed": "fast",
                    "valid_from_ms": 1,
                    "valid_until_ms": 2,
                    "tiers": [
                        {"above_input_tokens": 0, "rates_pico": {"input": 3}},
                        {"above_input_tokens": 200_000, "rates_pico": {}},
                    ],
                }
            ],
            "released_ms": 4,
            "unlisted": True,
        }
    ]
