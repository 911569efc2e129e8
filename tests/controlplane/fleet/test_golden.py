"""Resources are what they were, byte for byte: pods and control planes of two versions digest the same.

`resources.json` holds what a populated database was compiled to. Whoever changes it changes every digest: a fleet of
two versions then sends everything anew, again and again, until the last of the older ones is gone.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from controlplane.budgets.models import Budget, Override
from controlplane.changes.change_set import change_set
from controlplane.changes.config import ConfigModel
from controlplane.changes.models import ResourceKind
from controlplane.fleet.state.compile import compile_all
from controlplane.fleet.state.reading import ref
from controlplane.keys.models import KeySecret, ModelAlias, VirtualKey
from controlplane.providers import credentials
from controlplane.providers.models import PriceList, Provider
from controlplane.tenancy.models import Group, GroupMember, Organization, Principal, Project, Team
from dataplane.core.secret import Secret
from protos import fleet_pb2 as pb
from tests.controlplane.factories import SYSTEM

pytestmark = pytest.mark.django_db

RECORDED = Path(__file__).with_name("resources.json")
AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
LATER = AT + timedelta(days=1)

TIER = {"above_input_tokens": 0, "rates_pico": {"input": 3_000_000, "output": 15_000_000, "cache_read": 300_000}}
LONG = {"above_input_tokens": 200_000, "rates_pico": {"output": 22_500_000, "input": 6_000_000}}
PLAIN = {"service_tier": "", "speed": "", "valid_from_ms": 0, "valid_until_ms": 0, "tiers": [TIER, LONG]}
BATCH = {"service_tier": "batch", "speed": "fast", "valid_from_ms": 5, "valid_until_ms": 9, "tiers": [TIER]}
PRICES = [
    {
        "provider": "anthropic", "model": "claude-sonnet-4-5", "match": ["claude-sonnet-4-5*", "claude-4-5-sonnet*"],
        "cards": [BATCH, PLAIN], "released_ms": 1_758_000_000_000, "unlisted": True,
    },
    {"provider": "openai", "model": "gpt-5", "match": [], "cards": [PLAIN]},
    {"provider": "openai", "model": "gpt-smell", "match": [], "cards": [PLAIN | {"tiers": [
        {"above_input_tokens": 0, "rates_pico": {"input_smell": 7}},
    ]}]},
]  # fmt: skip


def saved(row: ConfigModel) -> Any:
    row.save()
    return row


def populate() -> None:
    """Two organizations with all that there can be, and rows of which something cannot be understood."""
    PriceList.objects.all().delete()
    org = saved(Organization(
        id="org_a", name="A", slug="a", contact="ada@example.com", freshness_bound_s=600, cut_on_stale=True,
    ))  # fmt: skip
    bare = saved(Organization(id="org_b", name="B", slug="b", active=False))
    saved(PriceList(id="price_all", version="v1", prices=PRICES))
    saved(PriceList(id="price_b", version="v2", prices=[{"unheard_of": 1}], organization=bare))
    team = saved(Team(id="team_a", organization=org, name="T", slug="t"))
    other = saved(Team(id="team_b", organization=bare, name="T", slug="t"))
    project = saved(Project(id="proj_a", organization=org, team=team, name="P", slug="p"))
    strange = saved(Project(id="proj_b", organization=bare, team=other, name="P", slug="p", active=False))
    person = saved(Principal(id="prin_a", organization=org, display_name="Ada", email="ada@example.com"))
    saved(Principal(id="prin_b", organization=bare, display_name="Bob", email="bob@example.com", active=False))
    for id in ("grp_2", "grp_1"):
        group = saved(Group(id=id, organization=org, name=id))
        saved(GroupMember(id=f"seat_{id}", organization=org, group=group, principal=person))
    providers(org, bare)
    keys(org, team, project, person, strange)
    budgets(org)


def providers(org: Organization, bare: Organization) -> None:
    rows: list[tuple[str, Organization, dict[str, Any]]] = [
        ("prov_a", org, {"kind": "azure_openai", "api_version": "2025-04-01", "priority": 0, "models": ["gpt-*", "o*"],
                         "deployments": {"gpt-5": "prod", "a": "b", "": "c"}, "price_provider": "azure"}),
        ("prov_b", bare, {"kind": "anthropic", "enabled": False, "priority": -3, "unpriced": "free"}),
        ("prov_new", org, {"kind": "oracle", "unpriced": "haggle"}),
        ("prov_models", org, {"kind": "openai", "models": "x"}),
        ("prov_deployments", org, {"kind": "openai", "deployments": []}),
        ("prov_sealed", org, {"kind": "openai"}),
    ]  # fmt: skip
    for id, owner, fields in rows:
        row = Provider(id=id, organization=owner, name=id.replace("_", "-"), base_url=f"https://{id}.test", **fields)
        credentials.put(row, Secret(f"plain {id}"))
        saved(row)
    overwrite("providers_provider", "prov_sealed", credential_sealed=b"rubbish")


def keys(org: Organization, team: Team, project: Project, person: Principal, strange: Project) -> None:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("vk_full", {"principal": person, "expires_at": LATER, "models_allowed": ["claude-*", "openai/*"],
                     "providers_allowed": ["prov_a"], "tags": ["ci", "x"]}),
        ("vk_org", {"owner_scope": "organization", "team": None, "state": "disabled"}),
        ("vk_cut", {"state": "revoked", "revoked_at": AT, "cut": True}),
        ("vk_limits", {"models_allowed": "x"}),
        ("vk_state", {}),
        ("vk_strange", {"project": strange, "principal": person}),
    ]  # fmt: skip
    for number, (id, fields) in enumerate(rows):
        base = {"organization": org, "team": team, "project": project, "name": id, "public_id": f"{number:010}"}
        key = saved(VirtualKey(id=id, **base | fields))
        ends = {"x": LATER, "y": AT - timedelta(days=9), "z": LATER + timedelta(days=1), "a": None}
        for letter, not_after in ends.items():
            digest = f"{id}{letter}".encode()
            public_id = f"{letter}{number:09}"
            KeySecret(
                key=key, organization=org, public_id=public_id, pepper_version=7, digest=digest, not_after=not_after
            ).save()
    overwrite("keys_virtualkey", "vk_state", state="melted")
    VirtualKey.objects.filter(pk__startswith="vk_").update(updated_at=AT)
    provider = Provider.objects.get(pk="prov_a")
    saved(ModelAlias(id="alias_a", organization=org, project=project, alias="fast", provider=provider, model="gpt-5"))
    saved(ModelAlias(id="alias_b", organization=org, key_id="vk_full", alias="slow", model="o3"))
    saved(ModelAlias(id="alias_c", organization=org, alias="odd", provider_id="prov_b", model="o3"))


def budgets(org: Organization) -> None:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("bud_full", {"scope_kind": "team", "scope_id": "team_a", "scope_name": "T", "provider_id": "prov_a",
                      "model_pattern": "claude-*", "window": "month", "timezone": "Europe/Berlin", "anchor": 31,
                      "resets": 2, "on_breach": "warn", "outage": "standard", "thresholds": [50, 100],
                      "contact": "ann@example.com"}),
        ("bud_off", {"scope_kind": "virtual_key", "scope_id": "vk_full", "window": "total", "timezone": "UTC",
                     "on_breach": "block", "outage": "open", "overdraft_nano": 5, "thresholds": [],
                     "enabled": False}),
        ("bud_scope", {"scope_kind": "galaxy", "scope_id": "g", "window": "day", "timezone": "UTC"}),
        ("bud_window", {"scope_kind": "organization", "scope_id": "org_a", "window": "eon", "timezone": "Mars"}),
        ("bud_strange", {"scope_kind": "organization", "scope_id": "org_a", "window": "day", "timezone": "UTC",
                         "provider_id": "prov_b", "on_breach": "warn"}),
        ("bud_thresholds", {"scope_kind": "organization", "scope_id": "org_a", "window": "day", "timezone": "UTC",
                            "thresholds": ["x"]}),
    ]  # fmt: skip
    for id, fields in rows:
        saved(Budget(id=id, organization=org, name=id, limit_nano=10**11, **fields))
    full = Budget.objects.get(pk="bud_full")
    for number, until in enumerate((LATER, None, AT - timedelta(days=9))):
        more = {"organization": org, "budget": full, "extra_nano": number + 5, "until": until, "reason": "r"}
        saved(Override(id=f"more_{number}", **more))
    Override.objects.update(created_at=AT)
    Budget.objects.update(updated_at=AT)


def overwrite(table: str, id: str, **columns: Any) -> None:
    """Behind everybody's back."""
    with connection.cursor() as cursor:
        for name, value in columns.items():
            cursor.execute(f'UPDATE {table} SET "{name}" = %s WHERE id = %s', [value, id])


def test_a_populated_database_is_compiled_to_the_bytes_that_were_recorded() -> None:
    with change_set(SYSTEM):
        populate()
    revisions = {ref(ResourceKind.VIRTUAL_KEY, "vk_full"): 1 << 40, ref(ResourceKind.BUDGET, "bud_full"): 12}
    names: dict[int, str] = {number: name for name, number in pb.ResourceKind.items()}
    found = {f"{names[at.kind]}/{at.id}": content.hex() for at, content in compile_all(revisions).items()}
    assert found == json.loads(RECORDED.read_text())
