"""What a pod does not understand of its control plane is noted with whom it covers, never ignored."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.money.prices import ModelPrice, PriceList, RateCard, RateTier
from dataplane.core.money.windows import WindowKind
from dataplane.core.snapshot import KeyState, NotUnderstood, ProviderKind, Row, ScopeKind, VirtualKey
from dataplane.core.usage import UsageClass
from dataplane.link.understanding import doubt
from dataplane.wire.rows import PRICE_GEOGRAPHY, resource_from, row_from
from protos import fleet_pb2 as pb
from tests.core import build
from tests.core.money.budget_world import budget
from tests.link import strategies
from tests.link.fleet_model import FromTheFuture, cover

ORGANIZATION = ((ScopeKind.ORGANIZATION, "org_1"),)


def doubted(resource: pb.Resource) -> NotUnderstood | None:
    sent = resource.SerializeToString()
    parsed = pb.Resource.FromString(sent)
    return doubt(parsed, row_from(parsed), sent)


def said(row: Row, **words: Any) -> NotUnderstood | None:
    """What is made of a row with other words in it."""
    return doubted(FromTheFuture(row.id, known=row, words=tuple(words.items())).resource())


def covers(resource: pb.Resource) -> tuple[tuple[tuple[ScopeKind, str], ...], bool]:
    found = doubted(resource)
    assert found is not None
    return found.covers, found.everybody


# ---- what there is to doubt -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "value", "problem"),
    [
        ("scope_kind", "galaxy", "scope 'galaxy' is unknown"),
        ("scope_kind", "", "scope '' is unknown"),
        ("window", "quarter", "window 'quarter' is unknown"),
        ("on_breach", "throttle", "on_breach 'throttle' is unknown"),
        ("outage", "vote", "outage 'vote' is unknown"),
        ("timezone", "Mars/Olympus", "time zone 'Mars/Olympus' is unknown"),
        ("anchor", 45, "anchor 45 is unknown"),
    ],
)
def test_a_budget_with_an_unknown_word_is_in_doubt_unless_it_is_switched_off(word, value, problem):
    rule = budget(window=WindowKind.MONTH, timezone="Europe/Berlin", anchor=31)
    assert said(rule) is None
    found = said(rule, **{word: value})
    assert found is not None
    assert (found.problem, found.covers, found.resource_id, found.kind_name) == (
        problem,
        ORGANIZATION,
        "bud_1",
        "budget",
    )
    assert said(rule, enabled=False, **{word: value}) is None


@pytest.mark.parametrize(("word", "value"), [("kind", "bedrock"), ("unpriced", "haggle")])
def test_a_provider_with_an_unknown_word_is_in_doubt_and_covers_no_key(word, value):
    assert said(build.provider()) is None
    found = said(build.provider(), **{word: value})
    assert found is not None
    assert (found.problem, found.covers, found.everybody) == (f"{word} '{value}' is unknown", (), False)
    assert said(build.provider(), enabled=False, **{word: value}) is None


def test_an_unknown_state_of_a_key_concerns_that_key():
    found = said(build.key(), state=17)
    assert found is not None
    assert (found.problem, found.covers) == ("state 17 is unknown", ((ScopeKind.VIRTUAL_KEY, "vk_1"),))
    row = row_from(FromTheFuture("vk_1", known=build.key(), words=(("state", 17),)).resource())
    assert isinstance(row, VirtualKey)
    assert row.state is KeyState.DISABLED


def prices(rates: dict[str, int]) -> pb.Resource:
    tier = RateTier(0, {UsageClass.INPUT: 1})
    listed = PriceList("price_1", "v1", tuple(
        ModelPrice("anthropic", name, (name,), (RateCard("", "", 0, 0, (tier,)),)) for name in ("claude-1", "claude-2")
    ))  # fmt: skip
    resource = resource_from(listed)
    for unit, rate in rates.items():
        resource.price_list.prices[1].cards[0].tiers[0].rates_pico[unit] = rate
    return resource


def test_a_price_in_an_unknown_unit_makes_that_models_price_doubtful_and_covers_no_key():
    assert doubted(prices({})) is None
    resource = prices({"input_smell": 7})
    found = doubted(resource)
    assert found is not None
    assert (found.problem, found.covers, found.everybody) == ("claude-2: unit 'input_smell' is unknown", (), False)
    row = row_from(resource)
    assert isinstance(row, PriceList)
    assert [price.unread for price in row.prices] == ["", "unit 'input_smell' is unknown"]
    del resource.price_list.prices[1].cards[0].tiers[:]
    found = doubted(resource)
    assert found is not None
    assert found.problem == "claude-2: it has no rates"


def test_a_pod_that_does_not_look_where_an_answer_was_made_must_not_read_a_list_that_says_so():
    tier = RateTier(0, {UsageClass.INPUT: 1})
    price = ModelPrice(
        "anthropic", "claude-1", ("claude-1",), (RateCard("", "", 0, 0, (tier,)),), geo_percent={"us": 110}
    )
    resource = resource_from(PriceList("price_1", "v1", (price,)))
    assert list(resource.needs) == [PRICE_GEOGRAPHY]
    assert doubted(resource) is None
    assert not prices({}).needs


@given(strategies.rows, st.lists(st.sampled_from(["a.need", "another"]), min_size=1, max_size=3))
def test_whatever_needs_what_this_version_does_not_know_is_in_doubt(row, needs):
    found = doubted(FromTheFuture(row.id, known=row, needs=tuple(needs)).resource())
    assert found is not None
    assert f"it needs '{needs[0]}'" in found.problem or "more" in found.problem


def test_a_key_with_an_unknown_need_keeps_what_could_be_read_of_it():
    future = FromTheFuture("vk_1", known=build.key(), needs=("key.networks",))
    assert row_from(future.resource()) == build.key(revision=0)


def test_unknown_words_are_repeated_in_so_far_as_people_need_them():
    found = said(budget(), scope_kind="x\n" * 500, window="y" * 500)
    assert found is not None
    assert len(found.problem) < 150
    assert found.problem.isprintable()
    many = doubted(FromTheFuture("vk_1", known=build.key(), needs=tuple(f"n{i}" for i in range(1000))).resource())
    assert many is not None
    assert many.problem == "it needs 'n0', it needs 'n1', it needs 'n2' and 997 more"


def test_words_that_are_left_out_have_their_strictest_meaning_and_are_not_in_doubt():
    wire = pb.Budget(id="b", organization_id="org_1", scope_kind="team", scope_id="t", window="day", enabled=True)
    assert doubted(pb.Resource(budget=wire)) is None
    assert doubted(pb.Resource(provider=pb.Provider(id="p", kind=str(ProviderKind.OPENAI), enabled=True))) is None


# ---- whom it covers -------------------------------------------------------------------------------------------


def test_an_unknown_kind_covers_whom_its_cover_names():
    named = cover(("team", "team_1"), ("virtual_key", "vk_9"))
    assert covers(FromTheFuture("pol_1", cover=named).resource()) == (
        ((ScopeKind.TEAM, "team_1"), (ScopeKind.VIRTUAL_KEY, "vk_9")), False
    )  # fmt: skip


@pytest.mark.parametrize("scopes", [(), (("galaxy", "g"),), (("team", "team_1"), ("galaxy", "g")), (("team", ""),)])
def test_a_cover_without_scopes_or_with_one_that_says_nothing_is_the_whole_organization(scopes):
    assert covers(FromTheFuture("pol_1", cover=cover(*scopes)).resource()) == (ORGANIZATION, False)


def test_an_unknown_kind_without_a_cover_covers_its_organization_and_without_one_everybody():
    assert covers(FromTheFuture("pol_1").resource()) == (ORGANIZATION, False)
    assert covers(FromTheFuture("pol_1", organization_id="").resource()) == ((), True)
    assert covers(FromTheFuture("pol_1", cover=cover(organization_id="")).resource()) == ((), True)
    assert covers(pb.Resource(revision=3)) == ((), True)


@pytest.mark.parametrize("scope", list(ScopeKind))
def test_every_scope_of_a_budget_can_be_said_in_a_cover(scope):
    resource = FromTheFuture("pol_1", cover=cover((str(scope), "x"))).resource()
    assert covers(resource) == (((scope, "x"),), False)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (build.organization(), ((ScopeKind.ORGANIZATION, "org_1"),)),
        (build.project(), ((ScopeKind.PROJECT, "proj_1"),)),
        (build.principal(), ((ScopeKind.PRINCIPAL, "prin_1"),)),
        (build.key(), ((ScopeKind.VIRTUAL_KEY, "vk_1"),)),
        (budget(), ORGANIZATION),
        (build.provider(), ()),
        (build.alias(), ()),
    ],
)
def test_a_known_kind_with_an_unknown_need_covers_what_it_is_about(row, expected):
    assert covers(FromTheFuture(row.id, known=row, needs=("new",)).resource()) == (expected, False)
    named = cover(("team", "team_1"))
    assert covers(FromTheFuture(row.id, known=row, needs=("new",), cover=named).resource()) == (
        ((ScopeKind.TEAM, "team_1"),), False
    )  # fmt: skip


def test_a_price_list_with_an_unknown_need_covers_everybody_unless_it_says_whom():
    listed = PriceList("price_1", "v1", ())
    assert covers(FromTheFuture("price_1", known=listed, needs=("new",)).resource()) == ((), True)
    resource = FromTheFuture("price_1", known=listed, needs=("new",), cover=cover()).resource()
    assert covers(resource) == (ORGANIZATION, False)


def test_a_cover_that_names_another_owner_than_the_resource_covers_everybody():
    elsewhere = cover(("virtual_key", "vk_1"), organization_id="org_2")
    assert covers(FromTheFuture("vk_1", known=build.key(), needs=("new",), cover=elsewhere).resource())[1] is True
