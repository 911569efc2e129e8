"""Where a request goes, and what is said when it goes nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core import kinds
from dataplane.core.errors import Code, Refusal
from dataplane.core.money.prices import ModelPrice, PriceList, RateCard, RateTier
from dataplane.core.routing import for_dialect, reachable_model, reachable_models, resolve
from dataplane.core.snapshot import ProviderKind, Row
from tests.core import build

ANTHROPIC, CHAT, RESPONSES, GEMINI = "anthropic_messages", "openai_chat", "openai_responses", "gemini"

anthropic = build.provider("prov_a", name="anthropic")
openai = build.provider("prov_o", name="openai", kind=ProviderKind.OPENAI)
gemini = build.provider("prov_g", name="google", kind=ProviderKind.GEMINI)


def compatible(id="prov_c", name="local", **fields):
    return build.provider(id, name=name, kind=ProviderKind.OPENAI_COMPATIBLE, **fields)


def went(rows, dialect, model, **key):
    candidate = resolve(build.snapshot(build.key(**key), *rows), build.key(**key), dialect, model)
    return candidate.provider.id, candidate.model


def refusal_of(snapshot, key, dialect, model) -> Refusal | None:
    try:
        resolve(snapshot, key, dialect, model)
    except Refusal as refusal:
        return refusal
    return None


def refused(rows, dialect, model, **key) -> Refusal:
    with pytest.raises(Refusal) as caught:
        went(rows, dialect, model, **key)
    return caught.value


# ---- the order ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "model", "expected"),
    [
        (ANTHROPIC, "claude-opus-5", "prov_a"),
        (RESPONSES, "gpt-6.1-sol", "prov_o"),
        (CHAT, "o3-mini", "prov_o"),
        (CHAT, "chatgpt-4o-latest", "prov_o"),
        (CHAT, "codex-mini-latest", "prov_o"),
        (CHAT, "text-embedding-3-large", "prov_o"),
        (RESPONSES, "computer-use-preview", "prov_o"),
        (GEMINI, "gemini-4-argon", "prov_g"),
        (GEMINI, "gemma-3-27b-it", "prov_g"),
        (GEMINI, "gemini-embedding-001", "prov_g"),
    ],
)
def test_a_model_goes_to_the_kind_whose_name_it_has(dialect, model, expected):
    assert went([anthropic, openai, gemini], dialect, model) == (expected, model)


def test_a_declared_name_goes_before_a_declared_glob_before_a_kinds_own_names():
    exact = compatible("prov_3", "exact", models=("gpt-5",), priority=9)
    glob = compatible("prov_2", "glob", models=("gpt-*",), priority=5)
    assert went([openai, glob, exact], CHAT, "gpt-5") == ("prov_3", "gpt-5")
    assert went([openai, glob, exact], CHAT, "gpt-6") == ("prov_2", "gpt-6")
    assert went([openai, glob, exact], CHAT, "o3") == ("prov_o", "o3")


def test_among_equals_the_lowest_priority_number_then_the_id_decides():
    second = build.provider("prov_z", name="z", kind=ProviderKind.OPENAI, priority=-1)
    assert went([openai, second], CHAT, "gpt-5") == ("prov_z", "gpt-5")
    third = build.provider("prov_b", name="b", kind=ProviderKind.OPENAI)
    assert went([openai, third], CHAT, "gpt-5") == ("prov_b", "gpt-5")


def test_a_provider_that_declares_models_serves_only_these():
    only = build.provider("prov_o", name="openai", kind=ProviderKind.OPENAI, models=("gpt-5",))
    assert refused([only], CHAT, "gpt-6").code is Code.MODEL_NOT_RECOGNIZED


def test_a_compatible_provider_serves_any_name_only_when_it_declares_none():
    assert went([compatible()], CHAT, "meta-llama/Llama-3.3") == ("prov_c", "meta-llama/Llama-3.3")
    assert refused([compatible(models=("qwen*",))], CHAT, "llama").code is Code.MODEL_NOT_RECOGNIZED


def test_a_provider_of_the_dialect_is_found_behind_one_that_declares_the_model_in_another():
    proxy = compatible(models=("claude-opus-5",), priority=-1)
    assert went([proxy, anthropic], ANTHROPIC, "claude-opus-5") == ("prov_a", "claude-opus-5")


def test_azure_serves_the_models_it_has_deployments_for():
    azure = build.provider(
        "prov_z", name="azure", kind=ProviderKind.AZURE_OPENAI, deployments=(("gpt-5", "team-gpt5"),), priority=5
    )
    assert went([openai, azure], CHAT, "gpt-5") == ("prov_z", "gpt-5")
    assert went([openai, azure], CHAT, "gpt-6") == ("prov_o", "gpt-6")


def test_a_disabled_provider_is_not_there():
    off = build.provider("prov_a", name="anthropic", enabled=False)
    assert refused([off], ANTHROPIC, "claude-opus-5").code is Code.NO_PROVIDER_CONFIGURED


# ---- explicit provider ----------------------------------------------------------------------------------------


def test_a_provider_in_front_of_the_model_is_taken_at_its_word():
    other = build.provider("prov_2", name="backup", priority=7)
    assert went([anthropic, other], ANTHROPIC, "backup/claude-opus-5") == ("prov_2", "claude-opus-5")
    assert went([openai], CHAT, "openai/ft:anything:acme") == ("prov_o", "ft:anything:acme")
    assert went([compatible()], CHAT, "local/meta-llama/Llama-3.3") == ("prov_c", "meta-llama/Llama-3.3")


def test_a_prefix_that_names_no_provider_belongs_to_the_model():
    named = compatible(models=("meta-llama/Llama-3.3",))
    assert went([named], CHAT, "meta-llama/Llama-3.3") == ("prov_c", "meta-llama/Llama-3.3")


def test_a_named_provider_still_serves_only_what_it_declares():
    refusal = refused([compatible(models=("qwen3",))], CHAT, "local/llama")
    assert refusal.code is Code.MODEL_NOT_RECOGNIZED
    assert refusal.meta["models"] == ["qwen3"]


def test_a_slash_alone_names_nothing():
    assert refused([openai], CHAT, "openai/").code is Code.MODEL_NOT_RECOGNIZED
    assert refused([openai], CHAT, "/gpt-5").code is Code.MODEL_NOT_RECOGNIZED


# ---- aliases --------------------------------------------------------------------------------------------------


def test_the_keys_alias_goes_before_its_projects_before_its_organizations():
    organization = build.alias("alias_1", model="claude-1")
    project = build.alias("alias_2", project_id="proj_1", model="claude-2")
    key = build.alias("alias_3", key_id="vk_1", model="claude-3")
    assert went([anthropic, organization, project, key], ANTHROPIC, "fast") == ("prov_a", "claude-3")
    assert went([anthropic, organization, project], ANTHROPIC, "fast") == ("prov_a", "claude-2")
    assert went([anthropic, organization], ANTHROPIC, "fast") == ("prov_a", "claude-1")


def test_an_alias_of_another_project_or_key_is_not_ours():
    rows = [
        anthropic,
        build.project("proj_2"),
        build.key("vk_2", public_id="B" * 10),
        build.alias("alias_1", project_id="proj_2"),
        build.alias("alias_2", key_id="vk_2"),
    ]
    assert refused(rows, ANTHROPIC, "fast").code is Code.MODEL_NOT_RECOGNIZED


def test_an_alias_may_name_its_provider_whatever_that_declares():
    other = build.provider("prov_2", name="backup", priority=7, models=("x",))
    assert went([anthropic, other, build.alias(provider_id="prov_2")], ANTHROPIC, "fast") == (
        "prov_2",
        "claude-haiku-4-5",
    )


def test_an_alias_may_hide_a_real_name_and_is_followed_once():
    first = build.alias("alias_1", alias="claude-opus-5", model="claude-haiku-4-5")
    second = build.alias("alias_2", alias="claude-haiku-4-5", model="claude-sonnet-5")
    assert went([anthropic, first, second], ANTHROPIC, "claude-opus-5") == ("prov_a", "claude-haiku-4-5")


def test_an_alias_to_a_provider_that_the_key_may_not_use_goes_nowhere():
    rows = [anthropic, openai, build.alias(provider_id="prov_a")]
    refusal = refused(rows, ANTHROPIC, "fast", providers_allowed=("prov_o",))
    assert refusal.code is Code.PROVIDER_NOT_REACHABLE
    assert "anthropic" in refusal.message


# ---- what the key allows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "allowed", ["claude-haiku-*", "anthropic/*", "anthropic/claude-haiku-4-5", "claude-haiku-4-5", "*"]
)
def test_what_is_allowed_is_judged_after_the_alias_with_and_without_the_provider(allowed):
    rows = [anthropic, build.alias()]
    assert went(rows, ANTHROPIC, "fast", models_allowed=(allowed,)) == ("prov_a", "claude-haiku-4-5")


@pytest.mark.parametrize("allowed", ["fast", "Claude-*", "openai/*", "claude-haiku", ""])
def test_an_alias_opens_no_side_door(allowed):
    refusal = refused([anthropic, build.alias()], ANTHROPIC, "fast", models_allowed=(allowed,))
    assert (refusal.code, refusal.status) == (Code.MODEL_NOT_ALLOWED, 403)


def test_a_key_reaches_only_its_providers():
    rows = [build.provider("prov_1", name="first"), build.provider("prov_2", name="second")]
    assert went(rows, ANTHROPIC, "claude-1", providers_allowed=("prov_2",)) == ("prov_2", "claude-1")
    refusal = refused(rows, ANTHROPIC, "first/claude-1", providers_allowed=("prov_2",))
    assert refusal.code is Code.PROVIDER_NOT_REACHABLE
    assert refusal.meta["providers"] == ["second"]


def test_another_organizations_provider_is_out_of_reach():
    foreign = build.provider("prov_9", name="foreign", organization_id="org_2")
    rows = [build.organization("org_2"), anthropic, foreign]
    assert refused(rows, ANTHROPIC, "foreign/claude-1").code is Code.MODEL_NOT_RECOGNIZED


# ---- refusals -------------------------------------------------------------------------------------------------


def test_no_model_is_said_so():
    assert refused([anthropic], ANTHROPIC, "").code is Code.MISSING_MODEL


def test_no_provider_at_all_is_said_so():
    assert refused([], ANTHROPIC, "claude-opus-5").code is Code.NO_PROVIDER_CONFIGURED
    assert refused([anthropic], ANTHROPIC, "x", providers_allowed=("prov_9",)).code is Code.NO_PROVIDER_CONFIGURED


def test_a_model_of_another_dialect_names_its_own_and_what_works_here():
    rows = [anthropic, openai, build.alias()]
    refusal = refused(rows, ANTHROPIC, "gpt-5")
    assert (refusal.code, refusal.status) == (Code.PROVIDER_NOT_REACHABLE, 400)
    assert "the OpenAI Chat Completions API or the OpenAI Responses API" in refusal.message
    assert "use fast" in refusal.message
    assert refusal.meta["models"] == ["fast"]


def test_a_refusal_names_at_most_ten_the_nearest_first_and_who_can_change_it():
    models = (*(f"m{number:02}" for number in range(30)), "zeta-1")
    rows = [compatible(models=models), build.organization(contact="ada@example.com", revision=2)]
    refusal = refused(rows, CHAT, "zeta-2")
    assert refusal.meta["models"] == ["zeta-1", *[f"m{number:02}" for number in range(9)]]
    assert "(and 21 more)" in refusal.message
    assert "ada@example.com can add an alias or a provider" in refusal.message


def test_a_refusal_names_only_what_the_key_allows():
    rows = [compatible(models=("a-1", "a-2", "b-1"))]
    refusal = refused(rows, CHAT, "b-1", models_allowed=("a-*",))
    assert refusal.meta["models"] == ["a-1", "a-2"]
    assert "b-1" not in refusal.message.replace("model 'b-1'", "")


@given(st.text(max_size=300))
def test_a_hostile_model_name_cannot_write_lines_of_its_own(model):
    refusal = refusal_of(build.snapshot(build.key(), anthropic), build.key(), ANTHROPIC, model)
    if refusal is not None:
        assert refusal.message.isprintable()
        assert len(refusal.message) < 400


# ---- what can be reached --------------------------------------------------------------------------------------


def price_list():
    names = {"anthropic": ["claude-opus-5", "claude-haiku-4-5"], "openai": ["gpt-5", "whisper-1"]}
    card = RateCard("", "", 0, 0, (RateTier(0, {}),))
    prices = tuple(ModelPrice(family, name, (name,), (card,)) for family, models in names.items() for name in models)
    return PriceList("price_1", "v1", prices)


def dated(**days):
    """A price list of the anthropic family, with the first day of each model's sale in days since 1970."""
    card = RateCard("", "", 0, 0, (RateTier(0, {}),))
    prices = tuple(
        ModelPrice("anthropic", name.replace("_", "-"), (name.replace("_", "-") + "*",), (card,), day * 86_400_000)
        for name, day in days.items()
    )
    return PriceList("price_1", "v1", prices)


LINE = dated(claude_sonnet_4_5=300, claude_opus_5=500, claude_sonnet_5=400, claude_odd=0)


def of_line(*rows, **key):
    organization = build.organization(price_list_id="price_1", revision=2)
    return build.snapshot(build.key(**key), LINE, organization, anthropic, *rows)


def test_the_newest_come_first_and_what_has_no_date_last():
    snapshot = of_line(build.alias(model="claude-sonnet-5"), build.alias("alias_2", alias="old", model="claude-odd"))
    assert [(model.id, model.released_ms // 86_400_000) for model in reachable_models(snapshot, build.key(), None)] == [
        ("claude-opus-5", 500),
        ("fast", 400),
        ("claude-sonnet-5", 400),
        ("claude-sonnet-4-5", 300),
        ("old", 0),
        ("claude-odd", 0),
    ]


def test_the_date_in_a_name_is_its_own():
    declared = build.provider("prov_a", name="anthropic", models=("claude-sonnet-4-5-20250929", "claude-sonnet-5"))
    snapshot = build.snapshot(build.key(), LINE, build.organization(price_list_id="price_1", revision=2), declared)
    (dated_name, plain) = reachable_models(snapshot, build.key(), None)
    assert (dated_name.id, dated_name.released_ms) == ("claude-sonnet-4-5-20250929", 1_759_104_000_000)
    assert (plain.id, plain.released_ms // 86_400_000) == ("claude-sonnet-5", 400)


@pytest.mark.parametrize("name", ["claude-opus-5-20251101", "claude-nope", "anthropic/claude-opus-5", "fast"])
def test_one_model_is_found_wherever_a_request_for_it_would_go(name):
    snapshot = of_line(build.alias())
    found = reachable_model(snapshot, build.key(), ANTHROPIC, name)
    assert (found.id, found.owned_by) == (name, "anthropic")
    assert reachable_model(snapshot, build.key(), None, name) == found


def test_one_model_is_refused_as_a_request_for_it_would_be():
    snapshot = of_line(models_allowed=("claude-opus-*",))
    key = build.key(models_allowed=("claude-opus-*",))
    for name in ("claude-sonnet-5", "gpt-5"):
        with pytest.raises(Refusal) as caught:
            reachable_model(snapshot, key, ANTHROPIC, name)
        asked = refusal_of(snapshot, key, ANTHROPIC, name)
        assert asked is not None
        assert (caught.value.code, caught.value.message) == (asked.code, asked.message)
    with pytest.raises(Refusal, match=r"this key may use no provider; "):
        reachable_model(build.snapshot(build.key()), build.key(), None, "gpt-5")


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("nope-9", "claude-opus-5"),  # nothing is near: the newest
        ("claude-sonnet-9", "claude-sonnet-5"),  # of the near ones the newest
        ("Claude-Sonnet-4-6", "claude-sonnet-4-5"),
        ("bedrock/claude-sonnet-4-6", "claude-sonnet-4-5"),
    ],
)
def test_a_refusal_names_the_nearest_first_and_of_these_the_newest(asked, first):
    narrow = build.provider(
        "prov_a", name="anthropic", models=("claude-opus-5", "claude-sonnet-5", "claude-sonnet-4-5")
    )
    rows = [LINE, build.organization(price_list_id="price_1", revision=2), narrow]
    assert f"use {first}, " in refused(rows, ANTHROPIC, asked).message


def test_a_refusal_names_models_of_the_same_use():
    serves = compatible(models=("gpt-5", "text-embedding-3-small", "gpt-image-2"))
    assert refused([serves], CHAT, "gpt-9").meta["models"] == ["gpt-5"]
    assert refused([serves], CHAT, "text-embedding-9").meta["models"] == ["text-embedding-3-small"]


def reachable(rows, dialect, **key):
    snapshot = build.snapshot(
        build.key(**key), price_list(), build.organization(price_list_id="price_1", revision=2), *rows
    )
    return [(model.id, model.owned_by) for model in reachable_models(snapshot, build.key(**key), dialect)]


def test_aliases_come_first_then_what_is_declared_or_priced():
    rows = [anthropic, openai, compatible(models=("qwen3", "ft-*")), build.alias()]
    assert reachable(rows, None) == [
        ("fast", "anthropic"),
        ("claude-haiku-4-5", "anthropic"),
        ("claude-opus-5", "anthropic"),
        ("gpt-5", "openai"),
        ("qwen3", "local"),
    ]
    assert reachable(rows, CHAT) == [("gpt-5", "openai"), ("qwen3", "local")]


def test_what_the_key_does_not_allow_is_not_listed():
    rows = [anthropic, openai, build.alias()]
    assert reachable(rows, None, models_allowed=("claude-opus-*",)) == [("claude-opus-5", "anthropic")]
    assert reachable(rows, None, providers_allowed=("prov_o",)) == [("gpt-5", "openai")]


@given(
    st.sampled_from([None, ANTHROPIC, CHAT, RESPONSES, GEMINI]),
    st.sets(st.sampled_from(["claude-*", "gpt-5", "openai/*", "q*"])).map(tuple),
    st.sets(st.sampled_from(["prov_a", "prov_o", "prov_c"])).map(tuple),
)
def test_everything_that_is_listed_resolves(dialect, models_allowed, providers_allowed):
    key = build.key(models_allowed=models_allowed, providers_allowed=providers_allowed)
    rows = [
        anthropic,
        openai,
        compatible(models=("qwen3",)),
        build.alias(),
        build.alias("alias_2", alias="a", model="q"),
    ]
    snapshot = build.snapshot(price_list(), build.organization(price_list_id="price_1", revision=2), key, *rows)
    for model in reachable_models(snapshot, key, dialect):
        for name in [dialect] if dialect else [ANTHROPIC, CHAT]:
            refusal = refusal_of(snapshot, key, name, model.id)
            if refusal is None:
                assert resolve(snapshot, key, name, model.id).provider.name == model.owned_by
                break
            assert refusal.code is Code.PROVIDER_NOT_REACHABLE
        else:
            pytest.fail(f"{model} does not resolve")


# ---- requests without a model ---------------------------------------------------------------------------------


def test_a_request_without_a_model_goes_to_the_first_provider_of_its_dialect():
    snapshot = build.snapshot(build.key(), anthropic, openai)
    assert for_dialect(snapshot, build.key(), RESPONSES).provider is openai
    with pytest.raises(Refusal) as caught:
        for_dialect(snapshot, build.key(), GEMINI)
    assert caught.value.code is Code.NO_PROVIDER_CONFIGURED


# ---- memory ---------------------------------------------------------------------------------------------------


def test_what_can_be_reached_is_worked_out_once_per_kind_of_key_and_anew_after_a_change():
    snapshot = build.snapshot(build.key(), anthropic, build.alias())
    first = reachable_models(snapshot, build.key(), ANTHROPIC)
    assert reachable_models(snapshot, build.key(), ANTHROPIC) is first
    assert reachable_models(snapshot, build.key("vk_2", tags=("x",)), ANTHROPIC) is first
    assert reachable_models(snapshot, build.key(models_allowed=("gpt-*",)), ANTHROPIC) == ()
    later = snapshot.apply(2, [build.alias("alias_2", alias="slow", model="claude-opus-5")])
    assert [model.id for model in reachable_models(later, build.key(), ANTHROPIC)] == ["fast", "slow"]


def test_a_key_with_aliases_of_its_own_does_not_share_its_list():
    snapshot = build.snapshot(build.key(), anthropic, build.alias(key_id="vk_1"))
    assert [model.id for model in reachable_models(snapshot, build.key("vk_2"), ANTHROPIC)] == []
    assert [model.id for model in reachable_models(snapshot, build.key("vk_1"), ANTHROPIC)] == ["fast"]
    assert [model.id for model in reachable_models(snapshot, build.key("vk_2"), ANTHROPIC)] == []


# ---- what is not understood -----------------------------------------------------------------------------------


def strange(id="prov_x", **fields):
    """A provider of a kind that this version does not know, as it reads it, and the note about it."""
    row = build.provider(id, kind=ProviderKind.OPENAI_COMPATIBLE, enabled=False, **({"name": "bedrock"} | fields))
    return row, doubt(id, "provider", "kind 'bedrock' is unknown")


def doubt(id, kind_name, problem):
    return build.not_understood(id, kind_name=kind_name, problem=problem)


def in_doubt(rows, dialect, model, **key) -> str:
    refusal = refused(rows, dialect, model, **key)
    assert (refusal.code, refusal.retry_after) == (Code.RULE_NOT_UNDERSTOOD, 5)
    return refusal.message


@pytest.mark.parametrize("model", ["bedrock/claude-opus-5", "fast", "nova-pro", "nova-lite", "surprise"])
def test_what_would_go_to_a_provider_that_is_not_understood_is_refused_and_not_sent_elsewhere(model):
    alias = build.alias(provider_id="prov_x", alias="fast", model="claude-haiku-4-5")
    models = ("nova-pro", "nova-*", "claude*")
    rows = [anthropic, *strange(models=models), alias] if model != "surprise" else [anthropic, *strange()]
    words = in_doubt(rows, ANTHROPIC, model)
    assert "what your request would go to (provider prov_x: kind 'bedrock' is unknown)" in words


def test_what_goes_to_others_goes_on():
    rows = [anthropic, openai, *strange(models=("nova-*",), priority=-1)]
    assert went(rows, ANTHROPIC, "claude-opus-5") == ("prov_a", "claude-opus-5")
    assert went(rows, CHAT, "openai/gpt-5") == ("prov_o", "gpt-5")
    assert for_dialect(build.snapshot(build.key(), *rows), build.key(), RESPONSES).provider.id == "prov_o"


def test_a_provider_that_is_not_understood_has_its_place_in_the_order():
    first, last = strange(models=("claude*",), priority=-1), strange(models=("claude*",), priority=9)
    declared = build.provider("prov_a", models=("claude*",))
    in_doubt([declared, *first], ANTHROPIC, "claude-opus-5")
    assert went([declared, *last], ANTHROPIC, "claude-opus-5") == ("prov_a", "claude-opus-5")
    undeclared = strange(priority=-1)  # what its kind serves by itself is unknown here
    assert went([anthropic, *undeclared], ANTHROPIC, "claude-opus-5") == ("prov_a", "claude-opus-5")
    in_doubt([anthropic, *undeclared], RESPONSES, "claude-opus-5")


def test_a_provider_that_is_not_understood_and_not_allowed_is_in_nobodys_way():
    rows = [anthropic, *strange(models=("nova-*",))]
    assert refused(rows, ANTHROPIC, "nova-pro", providers_allowed=("prov_a",)).code is Code.MODEL_NOT_RECOGNIZED
    assert refused(rows, ANTHROPIC, "nova-pro", models_allowed=("claude*",)).code is Code.MODEL_NOT_ALLOWED


def test_another_provider_of_the_same_name_is_meant_where_one_is_not_understood():
    twin = build.provider("prov_b", name="bedrock")
    assert went([twin, *strange()], ANTHROPIC, "bedrock/claude-opus-5") == ("prov_b", "claude-opus-5")


def test_where_only_a_provider_that_is_not_understood_could_answer_nobody_says_that_there_is_none():
    snapshot = build.snapshot(build.key(), *strange())
    with pytest.raises(Refusal) as caught:
        for_dialect(snapshot, build.key(), RESPONSES)
    assert caught.value.code is Code.RULE_NOT_UNDERSTOOD


def test_a_provider_that_is_not_understood_is_not_in_the_list_of_models():
    alias = build.alias(provider_id="prov_x", alias="fast")
    snapshot = build.snapshot(build.key(), anthropic, *strange(models=("nova-pro",)), alias)
    assert [model.id for model in reachable_models(snapshot, build.key(), None)] == []


def test_an_alias_that_is_not_understood_is_refused_by_its_name_and_the_model_itself_is_not():
    rows = [anthropic, build.alias(alias="fast"), doubt("alias_1", "model_alias", "it needs 'alias.weights'")]
    assert "it needs 'alias.weights'" in in_doubt(rows, ANTHROPIC, "fast")
    assert went(rows, ANTHROPIC, "claude-haiku-4-5") == ("prov_a", "claude-haiku-4-5")


def test_a_model_whose_price_is_understood_in_part_is_refused_and_the_others_of_the_list_are_not():
    def price(name, unread=""):
        return ModelPrice("anthropic", name, (name,), (RateCard("", "", 0, 0, (RateTier(0, {}),)),), unread=unread)

    listed = PriceList("price_1", "v1", (price("claude-a"), price("claude-b", "unit 'input_smell' is unknown")))
    rows = [build.organization(price_list_id="price_1"), listed, anthropic]
    assert went(rows, ANTHROPIC, "claude-a") == ("prov_a", "claude-a")
    assert "the price of model 'claude-b' (unit 'input_smell' is unknown)" in in_doubt(rows, ANTHROPIC, "claude-b")


# ---- a kind that nobody declared dialects and names for -----------------------------------------------------------

newcomer = build.provider("prov_n", name="newcomer", kind=ProviderKind.GEMINI, priority=-1)


@pytest.fixture
def half_declared(monkeypatch):
    for table in (kinds.DIALECTS, kinds.NAMES):
        monkeypatch.delitem(table, ProviderKind.GEMINI)


@pytest.mark.usefixtures("half_declared")
def test_a_kind_that_stands_in_no_table_is_in_no_other_providers_way():
    snapshot = build.snapshot(build.key(), newcomer, anthropic, openai)
    assert resolve(snapshot, build.key(), ANTHROPIC, "claude-opus-5").provider.id == "prov_a"
    assert for_dialect(snapshot, build.key(), RESPONSES).provider.id == "prov_o"
    assert refused([newcomer, anthropic], ANTHROPIC, "gpt-5").code is Code.MODEL_NOT_RECOGNIZED
    card = RateCard("", "", 0, 0, (RateTier(0, {}),))
    prices = PriceList("price_1", "v1", (ModelPrice("anthropic", "claude-a", ("claude-a",), (card,)),))
    rows: list[Row] = [build.organization(price_list_id="price_1"), prices, newcomer, anthropic]
    listed = reachable_models(build.snapshot(build.key(), *rows), build.key(), None)
    assert [(model.id, model.owned_by) for model in listed] == [("claude-a", "anthropic")]


@pytest.mark.usefixtures("half_declared")
def test_alone_it_is_refused_with_words():
    assert "no provider serves model 'gemini-4-argon'" in refused([newcomer], GEMINI, "gemini-4-argon").message
    declared = build.provider("prov_n", name="newcomer", kind=ProviderKind.GEMINI, models=("nova-pro",))
    message = refused([declared], GEMINI, "nova-pro").message
    assert "served by provider 'newcomer', which speaks no API that this pod knows and not the Gemini API" in message
    assert "may use no provider that speaks the Gemini API" in refused_for_dialect(newcomer, GEMINI).message


def refused_for_dialect(provider, dialect) -> Refusal:
    with pytest.raises(Refusal) as caught:
        for_dialect(build.snapshot(build.key(), provider), build.key(), dialect)
    return caught.value
