"""Reads of budgets: where each stands now, the tree of an organization, who is covered, crossings, past windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import TypeVar

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from controlplane.budgets import actions, validation
from controlplane.budgets.models import Account, Budget, Crossing, Override, ScopeKind
from controlplane.budgets.values import core_budget, moment, ms
from controlplane.changes.actor import Actor
from controlplane.keys.models import VirtualKey
from controlplane.tenancy.models import GroupMember, Organization, Principal, Project
from controlplane.tenancy.permissions import Forbidden, Verb
from controlplane.tenancy.queries import for_actor, within
from controlplane.tenancy.scope import Scope
from dataplane.core.money import accounts as core_accounts

ACCOUNTS_AT_A_TIME = 200
Row = TypeVar("Row", Account, Crossing)
_HOUR_MS = 3_600_000
_LEAST_MS = 60_000  # a rate is not told from less


@dataclass(frozen=True, slots=True)
class Standing:
    """One account at one moment. Money in nano-dollars. `account`: None while nobody has drawn on it."""

    budget: Budget
    member_id: str
    account: Account | None
    window_key: str
    starts_at: datetime | None  # None: from the first request on
    counts_from: datetime | None  # when it began to count, if that was within the window: earlier spending is not in it
    earlier_nano: int  # the part of what is settled that was taken over from the ledger
    adding_up: bool  # that part is not all added up yet
    ends_at: datetime | None  # exclusive, the moment of the next reset; None: it does not end by itself
    limit_nano: int  # with the overrides that are live
    settled_nano: int
    held_nano: int  # set aside by running requests, or leased to pods
    burn_nano_per_hour: int  # of this window, since it counts
    projected_nano: int | None  # spent at the end of the window if it goes on like this; None: it has no end
    runs_out_at: datetime | None  # when the limit is reached if it goes on like this; None: not within the window

    @property
    def remaining_nano(self) -> int:
        """What neither is spent nor held; not below 0."""
        return max(0, self.limit_nano - self.settled_nano - self.held_nano)

    @property
    def percent(self) -> int:
        """Spent, of the limit, rounded down; 100 where nothing may be spent."""
        return self.settled_nano * 100 // self.limit_nano if self.limit_nano > 0 else 100

    @property
    def exhausted(self) -> bool:
        return self.settled_nano >= self.limit_nano


def budgets_for(actor: Actor) -> QuerySet[Budget]:
    rows = Budget.objects.select_related("organization", "provider").order_by("organization", "name", "pk")
    return for_actor(actor, rows, Verb.BUDGET_VIEW)


def overrides_for(actor: Actor) -> QuerySet[Override]:
    """Newest first, past and withdrawn ones too."""
    return for_actor(actor, Override.objects.select_related("budget").order_by("-created_at"), Verb.BUDGET_VIEW)


def accounts_for(actor: Actor) -> QuerySet[Account]:
    """Also those of deleted budgets. Newest first."""
    return _of_budgets(actor, Account.objects.order_by("-drawn_at", "-pk"))


def crossings_for(actor: Actor) -> QuerySet[Crossing]:
    """Newest first."""
    return _of_budgets(actor, Crossing.objects.select_related("account").order_by("-at", "-pk"))


def _of_budgets(actor: Actor, rows: QuerySet[Row]) -> QuerySet[Row]:
    team = Budget.objects.filter(pk=OuterRef("budget_id")).values("team_id")[:1]
    return within(actor, rows.alias(team=Subquery(team)), Verb.BUDGET_VIEW, Scope("organization_id", "team"))


def standing(budget: Budget, member_id: str = "", at: datetime | None = None) -> Standing:
    """Where the budget stands in the window at `at` (now)."""
    return standings([(budget, member_id)], at)[0]


def standings(wanted: Iterable[tuple[Budget, str]], at: datetime | None = None) -> list[Standing]:
    """The same for many, in two queries per 200; in the order asked for."""
    wanted = list(wanted)
    at = at or timezone.now()
    overrides: dict[str, list[Override]] = {}
    for override in Override.objects.filter(budget__in={budget.pk for budget, _ in wanted}):
        overrides.setdefault(override.budget_id, []).append(override)
    cores = [
        (budget, core_accounts.account_at(core_budget(budget, overrides.get(budget.pk, ())), member_id, ms(at)))
        for budget, member_id in wanted
    ]
    rows: dict[tuple[str, str, str], Account] = {}
    for start in range(0, len(cores), ACCOUNTS_AT_A_TIME):
        refs = [core.ref for _, core in cores[start : start + ACCOUNTS_AT_A_TIME]]
        anyone = reduce(or_, (Q(budget_id=ref[0], member_id=ref[1], window_key=ref[2]) for ref in refs))
        rows |= {(row.budget_id, row.member_id, row.window_key): row for row in Account.objects.filter(anyone)}
    return [_standing(budget, core, rows.get(core.ref), at) for budget, core in cores]


def _standing(budget: Budget, core: core_accounts.Account, account: Account | None, at: datetime) -> Standing:
    starts_ms, ends_ms, limit_nano = core.window.starts_ms, core.window.ends_ms, core.limit_nano
    settled = account.settled_nano if account is not None else 0
    held = account.held_nano if account is not None else 0
    counts_from = budget.counts_from if starts_ms and starts_ms < ms(budget.counts_from) <= ms(at) else None
    if counts_from is not None:
        since_ms = ms(counts_from)
    else:
        since_ms = starts_ms or ms(account.opened_at if account is not None else at)
    elapsed_ms = max(ms(at) - since_ms, _LEAST_MS)
    projected = settled + settled * max(0, ends_ms - ms(at)) // elapsed_ms if ends_ms else None
    runs_out_at = None
    if settled > 0:
        runs_out_ms = ms(at) + max(0, limit_nano - settled) * elapsed_ms // settled
        if runs_out_ms < (ends_ms or 4_102_444_800_000):
            runs_out_at = moment(runs_out_ms)
    return Standing(
        budget=budget,
        member_id=core.ref.member_id,
        account=account,
        window_key=core.ref.window_key,
        starts_at=moment(starts_ms),
        counts_from=counts_from,
        earlier_nano=account.earlier_nano if account is not None else 0,
        adding_up=account is not None and account.adding_up,
        ends_at=moment(ends_ms),
        limit_nano=limit_nano,
        settled_nano=settled,
        held_nano=held,
        burn_nano_per_hour=settled * _HOUR_MS // elapsed_ms,
        projected_nano=projected,
        runs_out_at=runs_out_at,
    )


def member_standings(budget: Budget, at: datetime | None = None) -> list[Standing]:
    """Of a group budget: one for each member, whoever has spent most first. Of any other: its one."""
    if budget.scope_kind != ScopeKind.GROUP:
        return [standing(budget, at=at)]
    members = standings_of([budget], at)[budget.pk]
    return [one for one in members if one.member_id]


def standings_of(budgets: Iterable[Budget], at: datetime | None = None) -> dict[str, list[Standing]]:
    """By budget: its one, or of a group budget one for each member, whoever has spent most first; of an empty group
    that of nobody. As many queries for many budgets as for one.
    """
    budgets = list(budgets)
    groups = [budget.scope_id for budget in budgets if budget.scope_kind == ScopeKind.GROUP]
    members: dict[str, list[str]] = {}
    places = GroupMember.objects.filter(group__in=groups).order_by("principal_id") if groups else ()
    for place in places:
        members.setdefault(place.group_id, []).append(place.principal_id)
    wanted = [
        (budget, member)
        for budget in budgets
        for member in (members.get(budget.scope_id, [""]) if budget.scope_kind == ScopeKind.GROUP else [""])
    ]
    by_budget: dict[str, list[Standing]] = {}
    for one in standings(wanted, at):
        by_budget.setdefault(one.budget.pk, []).append(one)
    return {pk: sorted(ones, key=lambda one: -one.settled_nano) for pk, ones in by_budget.items()}


@dataclass(frozen=True, slots=True)
class Node:
    """One place in the tree of an organization. `standings`: of its budgets; of a group budget, whoever spent most."""

    kind: str  # of ScopeKind
    id: str
    name: str
    standings: tuple[Standing, ...]
    children: tuple[Node, ...]


def tree(actor: Actor, organization: Organization, at: datetime | None = None) -> Node:
    """The organization; below it its teams, in these their projects, in these keys with budgets; then principals and
    groups with budgets. Places without any budget in or under them are left out, and so is what the actor may not see.
    """
    rows = list(budgets_for(actor).filter(organization=organization))
    by_scope: dict[tuple[str, str], list[Standing]] = {}
    for most, *_ in standings_of(rows, at).values():
        by_scope.setdefault((most.budget.scope_kind, most.budget.scope_id), []).append(most)
    names = {(row.scope_kind, row.scope_id): row.scope_name for row in rows}

    def node(kind: str, id: str, name: str, children: Iterable[Node] = ()) -> Node:
        return Node(kind, id, name, tuple(by_scope.get((kind, id), ())), tuple(children))

    def of_kind(kind: str, ids: Iterable[str] | None = None) -> list[Node]:
        wanted = [scope for scope in names if scope[0] == kind and (ids is None or scope[1] in set(ids))]
        return [node(kind, id, names[kind, id]) for _, id in sorted(wanted, key=lambda scope: names[scope])]

    projects: dict[str, list[Node]] = {}
    homes = dict(
        VirtualKey.objects.filter(pk__in=[id for kind, id in names if kind == ScopeKind.VIRTUAL_KEY]).values_list(
            "pk", "project_id"
        )
    )
    for project in Project.objects.filter(organization=organization).order_by("name", "pk"):
        keys = of_kind(ScopeKind.VIRTUAL_KEY, [id for id, home in homes.items() if home == project.pk])
        if keys or (ScopeKind.PROJECT, project.pk) in by_scope:
            projects.setdefault(project.team_id, []).append(node(ScopeKind.PROJECT, project.pk, project.name, keys))
    teams = [
        node(ScopeKind.TEAM, team.pk, team.name, projects.get(team.pk, ()))
        for team in organization.teams.order_by("name", "pk")
        if team.pk in projects or (ScopeKind.TEAM, team.pk) in by_scope
    ]
    others = [*of_kind(ScopeKind.GROUP), *of_kind(ScopeKind.PRINCIPAL)]
    return node(ScopeKind.ORGANIZATION, organization.pk, organization.name, [*teams, *others])


@dataclass(frozen=True, slots=True)
class Coverage:
    """Whom a budget on a scope covers, now. `accounts`: how many allowances that makes."""

    keys: int
    principals: int
    projects: int
    accounts: int
    sample: tuple[str, ...]  # names of some of the keys


def covered(organization_id: str, scope_kind: str, scope_id: str, *, sample: int = 10) -> Coverage:
    """Keys that are not revoked, the people and projects they book to. What the actor may see is checked before."""
    keys = VirtualKey.objects.filter(organization=organization_id).exclude(state="revoked")
    members = GroupMember.objects.filter(group=scope_id).values("principal_id")
    narrowed: Mapping[str, Q] = {
        ScopeKind.ORGANIZATION: Q(organization=scope_id),
        ScopeKind.TEAM: Q(team=scope_id),
        ScopeKind.PROJECT: Q(project=scope_id),
        ScopeKind.PRINCIPAL: Q(principal=scope_id),
        ScopeKind.VIRTUAL_KEY: Q(pk=scope_id),
        ScopeKind.GROUP: Q(principal__in=members),
    }
    keys = keys.filter(narrowed[scope_kind])
    people = keys.exclude(principal=None).values("principal_id").distinct().count()
    if scope_kind == ScopeKind.GROUP:
        people = Principal.objects.filter(pk__in=members).count()
    return Coverage(
        keys=keys.count(),
        principals=people,
        projects=keys.values("project_id").distinct().count(),
        accounts=people if scope_kind == ScopeKind.GROUP else 1,
        sample=tuple(keys.order_by("name", "pk").values_list("name", flat=True)[:sample]),
    )


def preview(by: Actor, organization: Organization, scope_kind: str, scope_id: str) -> Coverage:
    """Whom a budget would cover, for an actor who may make it.

    Raises Forbidden, and ValidationError for a scope that there is not.
    """
    scope = validation.scope_of(organization.pk, scope_kind, scope_id)
    team_id = validation.team_of(scope_kind, scope)
    planned = Budget(organization=organization, scope_kind=scope_kind, scope_id=scope_id, team_id=team_id)
    if not actions.may_change(by, planned):
        raise Forbidden(Verb.BUDGET_CHANGE)
    return covered(organization.pk, scope_kind, scope_id)


def past_accounts(budget: Budget, member_id: str | None = None) -> QuerySet[Account]:
    """Every window that was ever drawn on, newest first; of one member, or of all."""
    rows: QuerySet[Account] = Account.objects.filter(budget_id=budget.pk)
    if member_id is not None:
        rows = rows.filter(member_id=member_id)
    return rows.order_by("-opened_at", "-pk")
