"""Which accounts a request draws on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane.core.money.accounts import accounts_for, budgets_over, limit_at
from dataplane.core.money.windows import WindowKind
from dataplane.core.rows import Budget, Override, Principal, ScopeKind
from dataplane.core.snapshot import Snapshot
from tests.core import build
from tests.core.money.budget_world import budget

NOON = 1_795_521_600_000  # 2026-11-24T12:00Z
PROVIDER, KEY = build.provider(), build.key()


def names(snapshot: Snapshot, at_ms: int = NOON, *, model: str = "claude-opus-5", key=KEY, provider=PROVIDER):
    return [account.ref.budget_id for account in accounts_for(snapshot, key, provider, model, at_ms)]


def snapshot(*rows) -> Snapshot:
    return build.snapshot(KEY, PROVIDER, *rows)


SCOPES = {
    "bud_org": (ScopeKind.ORGANIZATION, "org_1"),
    "bud_team": (ScopeKind.TEAM, "team_1"),
    "bud_project": (ScopeKind.PROJECT, "proj_1"),
    "bud_group": (ScopeKind.GROUP, "grp_1"),
    "bud_principal": (ScopeKind.PRINCIPAL, "prin_1"),
    "bud_key": (ScopeKind.VIRTUAL_KEY, "vk_1"),
}


def test_a_request_draws_on_every_level_above_its_key_and_on_its_groups():
    rows = [budget(id, scope_kind=kind, scope_id=scope) for id, (kind, scope) in SCOPES.items()]
    member = build.principal(group_ids=("grp_1", "grp_without_a_budget"), revision=2)
    assert names(snapshot(*rows, member)) == list(SCOPES)


@pytest.mark.parametrize(("kind", "_"), SCOPES.values())
def test_what_is_above_other_keys_is_not_drawn_on(kind, _):
    assert names(snapshot(budget(scope_kind=kind, scope_id="another"))) == []
    assert names(snapshot(budget(scope_kind=kind, scope_id=""))) == []


def test_nobody_pays_for_a_budget_that_is_switched_off():
    assert names(snapshot(budget(enabled=False))) == []


def test_each_member_of_a_group_has_an_allowance_of_its_own():
    group = budget("bud_group", scope_kind=ScopeKind.GROUP, scope_id="grp_1")
    members = [build.principal(id, group_ids=("grp_1",), revision=2) for id in ("prin_1", "prin_2")]
    keys = [build.key("vk_1"), build.key("vk_2", principal_id="prin_2", public_id="B" * 10)]
    made = build.snapshot(*keys, PROVIDER, group, *members)
    refs = [accounts_for(made, key, PROVIDER, "m", NOON)[0].ref for key in keys]
    assert [ref.member_id for ref in refs] == ["prin_1", "prin_2"]
    assert names(snapshot(group)) == []


def test_a_narrowed_budget_is_drawn_on_only_where_it_applies():
    made = snapshot(
        budget("bud_provider", provider_id="prov_1"),
        budget("bud_other", provider_id="prov_2"),
        budget("bud_opus", model_pattern="claude-opus-*"),
        budget("bud_named", model_pattern="anthropic/*"),
    )
    assert names(made) == ["bud_named", "bud_opus", "bud_provider"]
    assert names(made, model="claude-haiku-5") == ["bud_named", "bud_provider"]


def test_the_answer_is_remembered_until_a_window_ends():
    made = snapshot(budget("bud_day", window=WindowKind.DAY), budget("bud_total"))
    before = accounts_for(made, KEY, PROVIDER, "m", NOON)
    assert accounts_for(made, KEY, PROVIDER, "m", NOON + 1_000) is before
    after = accounts_for(made, KEY, PROVIDER, "m", NOON + 12 * 3_600_000)
    assert [account.ref.window_key for account in before] == ["day:2026-11-24@UTC", "total"]
    assert [account.ref.window_key for account in after] == ["day:2026-11-25@UTC", "total"]
    assert accounts_for(made, KEY, PROVIDER, "m", NOON)[0].ref == before[0].ref  # a clock that went back


def test_keys_that_draw_on_an_account_share_it():
    other = build.key("vk_2", public_id="B" * 10)
    made = snapshot(other, budget())
    assert accounts_for(made, KEY, PROVIDER, "m", NOON)[0] is accounts_for(made, other, PROVIDER, "m", NOON)[0]


def test_an_override_raises_the_limit_while_it_lives_and_no_job_ends_it():
    raised = budget(limit_nano=100, overrides=(Override(50, NOON + 1_000), Override(7, 0)))
    assert [limit_at(raised, at) for at in (NOON, NOON + 999, NOON + 1_000)] == [157, 157, 107]
    made = snapshot(raised)
    limits = [accounts_for(made, KEY, PROVIDER, "m", at)[0].limit_nano for at in (NOON, NOON + 1_000)]
    assert limits == [157, 107]


def test_a_changed_budget_counts_from_the_next_revision_on():
    made = snapshot(budget(limit_nano=100))
    assert accounts_for(made, KEY, PROVIDER, "m", NOON)[0].limit_nano == 100
    made = made.apply(2, [budget(limit_nano=200, revision=2)])
    assert accounts_for(made, KEY, PROVIDER, "m", NOON)[0].limit_nano == 200
    assert names(made.apply(3, [], [(Budget, "bud_1")])) == []


def test_a_principal_who_joins_a_group_is_covered_from_the_next_revision_on():
    made = snapshot(budget("bud_group", scope_kind=ScopeKind.GROUP, scope_id="grp_1"))
    assert names(made) == []
    assert names(made.apply(2, [build.principal(group_ids=("grp_1",), revision=2)])) == ["bud_group"]
    assert names(made.apply(2, [], [(Principal, "prin_2")])) == []


def test_a_key_that_moves_to_another_project_takes_its_budgets_from_there():
    made = snapshot(budget(scope_kind=ScopeKind.PROJECT, scope_id="proj_2"), build.project("proj_2"))
    assert names(made) == []
    assert names(made, key=replace(KEY, project_id="proj_2")) == ["bud_1"]


def test_an_owner_sees_every_budget_above_a_key_whatever_it_is_narrowed_to():
    made = snapshot(budget("bud_opus", model_pattern="opus"), budget("bud_all"))
    assert [(found.id, member) for found, member in budgets_over(made, KEY)] == [("bud_all", ""), ("bud_opus", "")]
