"""Words for a budget that stops a request: which one, how much of it is spent, when it resets, who can raise it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from dataplane.core.errors import Code, Refusal
from dataplane.core.money.accounts import Account, limit_at
from dataplane.core.money.amounts import NANO_PER_DOLLAR
from dataplane.core.money.holds import Reason
from dataplane.core.money.messages import AccountState
from dataplane.core.money.windows import WindowKind
from dataplane.core.refusals import who_can_help
from dataplane.core.rows import ScopeKind
from dataplane.core.snapshot import OrganizationView

_SCOPES: Final = {
    ScopeKind.ORGANIZATION: "organization",
    ScopeKind.TEAM: "team",
    ScopeKind.PROJECT: "project",
    ScopeKind.PRINCIPAL: "person",
    ScopeKind.VIRTUAL_KEY: "key",
    ScopeKind.GROUP: "member of",
}
_PERIODS: Final = {
    WindowKind.MINUTE: "per minute",
    WindowKind.HOUR: "hourly",
    WindowKind.DAY: "daily",
    WindowKind.WEEK: "weekly",
    WindowKind.MONTH: "monthly",
    WindowKind.TOTAL: "in total",
    WindowKind.MANUAL: "until it is reset",
}
_PLACES: Final = ((2, NANO_PER_DOLLAR // 100), (4, NANO_PER_DOLLAR // 10_000), (6, NANO_PER_DOLLAR // 1_000_000))
_NAME: Final = 80  # characters of a name that a terminal has room for


def exhausted(view: OrganizationView, account: Account, state: AccountState, at_ms: int) -> Refusal:
    """Nothing is left of `account`, as far as `state` knows."""
    budget = account.budget
    limit = state.limit_nano or limit_at(budget, at_ms)
    busy = max(0, state.held_nano - state.idle_nano)
    spent = f"{cents(state.settled_nano, limit)} of {cents(limit)} spent"
    if state.settled_nano > limit + budget.overdraft_nano:
        spent += " (above the limit, which was lowered, or stopped nothing, before)"
    if busy * 100 >= limit:
        spent += f", {cents(busy, limit)} set aside for running requests"
    resets = resets_at(account)
    when = f"; resets {resets[:16].replace('T', ' ')} UTC" if resets else ""
    contact = _clean(budget.contact) or who_can_help(view)
    words = f"Budget '{_clean(budget.name)}' ({_scope(account)}) is used up: {spent}{when}. Ask {contact} to raise it."
    return Refusal(
        Code.BUDGET_EXCEEDED,
        words,
        meta={
            **_named(account),
            "scope": str(budget.scope_kind),
            "window": str(budget.window),
            "limit": cents(limit),
            "spent": cents(state.settled_nano, limit),
            "resets_at": resets,
            "contact": contact,
        },
    )


_UNCHECKED: Final = {
    Reason.UNREACHABLE: "this pod has lost contact with the control plane",
    Reason.UNANSWERED: "the control plane did not answer in time",
    Reason.UNDECIDED: "the control plane has no answer about it at the moment",
    Reason.UNKNOWN: "the control plane does not know of it, or not of its present window",
}


def unchecked(account: Account, why: Reason) -> Refusal:
    """The control plane cannot be asked, or cannot say, and the budget's rule for that says no."""
    words = f"budget '{_clean(account.budget.name)}' cannot be checked: {_UNCHECKED[why]}; try again"
    return Refusal(Code.CONFIGURATION_STALE, words, meta=_named(account), retry_after=5)


def unpriced(view: OrganizationView, account: Account, model: str, provider: str) -> Refusal:
    """The model has no price, so that its budget could not be kept."""
    return Refusal(
        Code.UNPRICED_MODEL,
        f"model '{_clean(model)}' of provider '{_clean(provider)}' has no price, and budget "
        f"'{_clean(account.budget.name)}' covers this key; {who_can_help(view)} can set a price, or what to do without",
        meta={"model": model[:_NAME], "provider": provider, **_named(account)},
    )


def standing(account: Account, state: AccountState | None, at_ms: int) -> dict[str, object]:
    """One budget for whoever draws on it: numbers in nano-dollars, and as people write them. What is spent is null
    while nobody knows."""
    budget, limit = account.budget, limit_at(account.budget, at_ms)
    facts: dict[str, object] = {
        "id": budget.id,
        "name": budget.name,
        "scope": str(budget.scope_kind),
        "scope_name": budget.scope_name,
        "window": str(budget.window),
        "provider_id": budget.provider_id or None,
        "models": budget.model_pattern or None,
        "on_breach": str(budget.on_breach),
        "resets_at": resets_at(account) or None,
        "limit_nano": limit,
        "limit": cents(limit),
    }
    if state is None:
        nothing = ("spent_nano", "spent", "held_nano", "held", "remaining_nano", "remaining", "percent")
        return facts | dict.fromkeys(nothing)
    held = max(0, state.held_nano - state.idle_nano)
    left = max(0, limit - state.settled_nano - held)
    return facts | {
        "spent_nano": state.settled_nano,
        "spent": cents(state.settled_nano, limit),
        "held_nano": held,
        "held": cents(held, limit),
        "remaining_nano": left,
        "remaining": cents(left, limit),
        "percent": min((limit - left) * 100 // limit, 100) if limit > 0 else 100,
    }


def resets_at(account: Account) -> str:
    """ISO 8601 in UTC; "" for a window that does not end by itself."""
    ends = account.window.ends_ms
    return datetime.fromtimestamp(ends // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if ends else ""


def cents(nano: int, like: int | None = None) -> str:
    """As people write it: "$12.50"; below a cent with the digits that say something. `like`: with as many as this
    amount takes, where both stand in one sentence.
    """
    amount = nano if like is None else like
    places = next((places for places, least in _PLACES if amount >= least), 9) if amount else 2
    whole, part = divmod(nano // 10 ** (9 - places), 10**places)
    return f"${whole:,}.{part:0{places}d}"


def _named(account: Account) -> dict[str, object]:
    return {"budget": account.budget.name, "budget_id": account.budget.id}


def _scope(account: Account) -> str:
    budget = account.budget
    named = f"{_SCOPES[budget.scope_kind]} {_clean(budget.scope_name)}".strip()
    return f"{named}, {_PERIODS[budget.window]}"


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_NAME])
