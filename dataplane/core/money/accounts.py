"""Which accounts a request draws on: those of every budget above its key, narrowed ones only where they apply.

`accounts_for` is on every request's path: the answer is remembered per key, provider and model until a window or an
override among it ends, so that a request pays one look-up (and nothing where nobody has set a budget).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from dataplane.core.globs import compiled
from dataplane.core.money.lease_epochs import EPOCH_LAG_MS, epoch_at
from dataplane.core.money.messages import AccountRef
from dataplane.core.money.windows import Window, window_at
from dataplane.core.rows import Budget, Provider, ScopeKind, VirtualKey
from dataplane.core.snapshot import OrganizationView, Snapshot

# Answers per organization; a busy one has some thousand combinations of key and model in use at a time.
REMEMBERED: Final = 16_384

Accounts = tuple["Account", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """One account of a budget, as a pod needs it: who it is, when it ends, which rules hold on it."""

    ref: AccountRef
    budget: Budget
    window: Window
    limit_nano: int  # with the overrides that are live
    until_ms: int  # as long as this stays true; 0: for ever
    epoch: int = 0  # of leases: what is leased under a lower one is for running requests only
    # Made once, since every request asks several times of each of its accounts.
    blocks: bool = field(init=False)
    tolerates_nothing: bool = field(init=False)  # blocks, and not a cent beyond its limit

    def __post_init__(self) -> None:
        blocks = self.budget.blocks
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "tolerates_nothing", blocks and not self.budget.overdraft_nano)


def accounts_for(snapshot: Snapshot, key: VirtualKey, provider: Provider, model: str, at_ms: int) -> Accounts:
    """What a request of `key` for `model` at `provider` draws on at `at_ms` (the control plane's clock): all, or none.

    In the order of scopes: organization, team, project, groups, principal, virtual key; then by id.
    """
    view = snapshot.view(key.organization_id)
    if not view.budgets:
        return ()
    principal = snapshot.principals.get(key.principal_id)
    groups = principal.group_ids if principal is not None else ()
    question = (key.id, key.team_id, key.project_id, key.principal_id, groups, provider.id, model)
    answer: tuple[int, int, Accounts] | None = view.drawn.get(question)
    if answer is not None and answer[0] <= at_ms < answer[1]:
        return answer[2]
    budgets = _budgets_over(view, key, groups)
    applying = [(budget, member) for budget, member in budgets if applies(budget, provider, model)]
    accounts = tuple(_account(view, budget, member, at_ms) for budget, member in applying)
    begins = max((account.window.starts_ms for account in accounts), default=0)
    ends = min((account.until_ms for account in accounts if account.until_ms), default=1 << 62)
    _remember(view, question, (begins, ends, accounts))
    return accounts


def budgets_over(snapshot: Snapshot, key: VirtualKey) -> tuple[tuple[Budget, str], ...]:
    """Every budget above the key with its member id, whatever it is narrowed to: what its owner may want to see."""
    principal = snapshot.principals.get(key.principal_id)
    groups = principal.group_ids if principal is not None else ()
    return tuple(_budgets_over(snapshot.view(key.organization_id), key, groups))


def account_at(budget: Budget, member_id: str, at_ms: int) -> Account:
    """The account of the window at `at_ms`."""
    window = window_at(budget.rule, at_ms)
    ref = AccountRef(budget.id, member_id, window.key)
    changes = [window.ends_ms]
    for override in budget.overrides:
        if override.until_ms:
            changes += override.until_ms, override.until_ms + EPOCH_LAG_MS
    until = min([moment for moment in changes if at_ms < moment], default=0)
    epoch = epoch_at(budget, at_ms - EPOCH_LAG_MS)
    return Account(ref, budget, window, limit_at(budget, at_ms), until, epoch)


def limit_at(budget: Budget, at_ms: int) -> int:
    """The limit with every override that is live at `at_ms`."""
    extra = [o.extra_nano for o in budget.overrides if not o.until_ms or at_ms < o.until_ms]
    return budget.limit_nano + sum(extra)


def applies(budget: Budget, provider: Provider, model: str) -> bool:
    """Whether a budget that is narrowed to a provider or to models covers this one."""
    return covers(budget, provider.id, provider.name, model)


def covers(budget: Budget, provider_id: str, provider_name: str, model: str) -> bool:
    """The same of a provider that may be gone: its id and its name."""
    if budget.provider_id and budget.provider_id != provider_id:
        return False
    if not budget.model_pattern:
        return True
    pattern = compiled((budget.model_pattern,))
    return pattern.matches(model) or pattern.matches(f"{provider_name}/{model}")


def _budgets_over(view: OrganizationView, key: VirtualKey, groups: tuple[str, ...]) -> Iterator[tuple[Budget, str]]:
    scopes = [
        (ScopeKind.ORGANIZATION, key.organization_id, ""),
        (ScopeKind.TEAM, key.team_id, ""),
        (ScopeKind.PROJECT, key.project_id, ""),
        *((ScopeKind.GROUP, group, key.principal_id) for group in groups),
        (ScopeKind.PRINCIPAL, key.principal_id, ""),
        (ScopeKind.VIRTUAL_KEY, key.id, ""),
    ]
    for kind, id, member in scopes:
        for budget in view.budgets.get((kind, id), ()) if id else ():
            yield budget, member


def _account(view: OrganizationView, budget: Budget, member_id: str, at_ms: int) -> Account:
    """Return one object to everybody who draws on it."""
    question = (budget.id, member_id)
    present: Account | None = view.drawn.get(question)
    if present is not None and present.window.contains(at_ms) and (not present.until_ms or at_ms < present.until_ms):
        return present
    account = account_at(budget, member_id, at_ms)
    _remember(view, question, account)
    return account


def _remember(view: OrganizationView, question: object, answer: object) -> None:
    if len(view.drawn) >= REMEMBERED:
        view.drawn.clear()
    view.drawn[question] = answer
