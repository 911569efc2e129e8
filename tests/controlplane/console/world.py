"""Two organizations with one of everything, and a login for every role in the first."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Model
from django.utils import timezone

from controlplane.alerts import channel_actions, rule_actions
from controlplane.alerts.models import ChannelKind, RuleKind
from controlplane.alerts.raising import Occurrence, begin
from controlplane.budgets import actions as budgets
from controlplane.budgets import queries
from controlplane.budgets.models import Account, Crossing, ScopeKind
from controlplane.fleet.models import Pod
from controlplane.keys import alias_actions
from controlplane.keys.models import VirtualKey
from controlplane.providers import price_actions
from controlplane.providers.models import Provider
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy import group_actions
from controlplane.tenancy.models import Membership, Organization, Principal, Project, Role, Team
from controlplane.usage.models import UsageRecord
from dataplane.core.secret import Secret
from tests.controlplane import factories as make

ROLES = tuple(Role)


@dataclass
class Tenant:
    """One organization's rows, by model label."""

    organization: Organization
    team: Team
    project: Project
    principal: Principal
    provider: Provider
    key: VirtualKey
    rows: dict[str, Model] = field(default_factory=dict)


@dataclass
class World:
    own: Tenant
    foreign: Tenant
    operator: User
    stranger: User
    logins: dict[Role, User]

    def callers(self) -> dict[str, User]:
        return {"operator": self.operator, "stranger": self.stranger} | {
            role.value: login for role, login in self.logins.items()
        }


def tenant(provider_url: str = "", channel_url: str = "") -> Tenant:
    organization = make.organization()
    team = make.team(organization)
    project = make.project(team)
    principal = make.principal(organization)
    provider = make.provider(organization, base_url=provider_url)
    key = make.key(project, principal=principal)
    made = Tenant(organization, team, project, principal, provider, key)
    token, _ = tenancy.mint_token(by=make.SYSTEM, organization=organization, name="script")
    rows: list[Model] = [
        organization,
        team,
        project,
        principal,
        provider,
        key,
        token,
        make.member(organization, Role.VIEWER)[1],
        alias_actions.create_alias(by=make.SYSTEM, organization=organization, alias="fast", model="gpt-5.5"),
        price_actions.put_override(
            by=make.SYSTEM,
            organization=organization,
            provider="openai",
            model="gpt-5.5",
            rates={"input": "1", "output": "2"},
        ),
        record(made),
        *money(made),
        *alerting(made, channel_url),
    ]
    made.rows = {row._meta.label_lower: row for row in rows}
    return made


def alerting(of: Tenant, channel_url: str = "") -> list[Model]:
    """A rule, its channel, and an alert on its way there."""
    channel = channel_actions.create_channel(
        by=make.SYSTEM,
        organization=of.organization,
        name=f"On-call of {of.organization.slug}",
        kind=ChannelKind.PAGERDUTY,
        address=channel_url,
        secret=Secret("0123456789abcdef0123456789abcdef"),
    )
    rule = rule_actions.create_rule(
        by=make.SYSTEM, organization=of.organization, name="Anything unpriced", kind=RuleKind.UNPRICED_MODEL,
        channels=[channel.pk],
    )  # fmt: skip
    occurrence = Occurrence(
        subject_kind="model", subject="m", window_key="day:1", title="m has no price", happened_at=timezone.now()
    )
    alert = begin(rule, occurrence)
    assert alert is not None
    return [rule, channel, alert, *alert.deliveries.all()]


def money(of: Tenant) -> list[Model]:
    """A group, and a budget that was drawn on."""
    group = group_actions.create_group(by=make.SYSTEM, organization=of.organization, name="Interns")
    budget = budgets.create_budget(
        by=make.SYSTEM,
        organization=of.organization,
        name="Project's month",
        scope_kind=ScopeKind.PROJECT,
        scope_id=of.project.pk,
        limit_nano=100 * 10**9,
        count_earlier=False,
    )
    override = budgets.override_budget(budget, by=make.SYSTEM, extra_nano=10**9, until=None, reason="A demonstration")
    account = Account.objects.create(
        id=10**15 + secrets.randbelow(10**15),  # found again in a page
        organization_id=of.organization.pk,
        budget_id=budget.pk,
        window_key=queries.standing(budget).window_key,
        limit_nano=101 * 10**9,
        settled_nano=85 * 10**9,
        held_nano=10**9,
    )
    crossing = Crossing.objects.create(
        id=account.pk,
        account=account,
        organization_id=of.organization.pk,
        budget_id=budget.pk,
        window_key=account.window_key,
        threshold=80,
        limit_nano=account.limit_nano,
        settled_nano=account.settled_nano,
    )
    return [group, budget, override, account, crossing]


def record(of: Tenant, **values: Any) -> UsageRecord:
    now = timezone.now()
    number = UsageRecord.objects.count()
    return UsageRecord.objects.create(
        **{
            "id": f"use_{number:026d}",
            "request_id": f"req_{number:030x}",
            "state": "final",
            "received_at": now,
            "started_at": now,
            "organization_id": of.organization.pk,
            "team_id": of.team.pk,
            "project_id": of.project.pk,
            "principal_id": of.principal.pk,
            "key_id": of.key.pk,
            "model": "claude-sonnet-5-5",
            "client": "claude_code",
            "outcome": "ok",
            "input_tokens": 1000,
            "output_tokens": 100,
            "cost_nano": 4_500_000,
            "units": {"input": 1000, "output": 100},
            "source": "provider",
        }
        | values
    )


def pod(**values: Any) -> Pod:
    now = timezone.now()
    number = Pod.objects.count()
    return Pod.objects.create(
        **{
            "pod_id": f"pod_{number}",
            "stream_id": f"stream{number}",
            "name": f"pod-{number}",
            "version": "0.1.0",
            "state": "ready",
            "connected": True,
            "first_seen_at": now,
            "last_heartbeat_at": now,
        }
        | values
    )


def world(**urls: str) -> World:
    own, foreign = tenant(**urls), tenant()
    logins = {}
    for role in ROLES:
        team = own.team if role is Role.TEAM_ADMIN else None
        actor, _ = make.member(own.organization, role, team, is_staff=False)
        logins[role] = User.objects.get(pk=actor.id)
    pod()
    return World(own, foreign, make.user(is_superuser=True), make.user(), logins)


WALKERS = (Role.OWNER, Role.TEAM_ADMIN, Role.MEMBER, Role.AUDITOR)


def busy_world(**urls: str) -> World:
    """The same, and the member is a person of the team with a key of their own that was used."""
    there = world(**urls)
    member, own = there.logins[Role.MEMBER], there.own
    tenancy.end_membership(Membership.objects.get(user=member), by=make.SYSTEM)
    tenancy.grant_role(by=make.SYSTEM, user=member, organization=own.organization, role=Role.MEMBER, team=own.team)
    grace = make.principal(own.organization, display_name="Grace Hopper", user=member)
    laptop = make.key(own.project, name="grace-laptop", principal=grace)
    record(own, principal_id=grace.pk, key_id=laptop.pk)
    return there
