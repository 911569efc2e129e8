"""A budget's standing in words, and as the bar that pages show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from controlplane.budgets.models import Budget, OnBreach, Override, ScopeKind, Window
from controlplane.budgets.queries import Node, Standing
from controlplane.console.addresses import page_of
from controlplane.pages.cells import BAD, GOOD, PLAIN, WARN
from controlplane.pages.wording import dollars
from controlplane.tenancy.models import Principal

NEAR_PERCENT = 80

_WINDOWS = {
    Window.MINUTE: "a minute",
    Window.HOUR: "an hour",
    Window.DAY: "a day",
    Window.WEEK: "a week",
    Window.MONTH: "a month",
    Window.TOTAL: "in total",
    Window.MANUAL: "until reset",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One allowance as pages show it. `spent`, `held`: per cent of the limit, for the bar; together at most 100."""

    name: str
    url: str
    limit: str
    state: str
    tone: str
    spent: int
    held: int
    figures: str
    remaining: str
    ends: str
    since: str  # where it does not count from its window's beginning
    earlier: str  # where it was given what was spent before it counted
    burn: str
    outlook: str


@dataclass(frozen=True, slots=True)
class Branch:
    """One place of the tree, `level` deep."""

    level: int
    kind: str
    name: str
    lines: tuple[Line, ...]


def limit_words(budget: Budget, limit_nano: int | None = None) -> str:
    return f"{dollars(budget.limit_nano if limit_nano is None else limit_nano)} {_WINDOWS[Window(budget.window)]}"


def line_of(standing: Standing, name: str = "") -> Line:
    budget, limit = standing.budget, standing.limit_nano
    state, tone = _state(standing)
    spent = min(100, standing.percent)
    held = min(100 - spent, standing.held_nano * 100 // limit) if limit > 0 else 0
    figures = f"{dollars(standing.settled_nano, limit)} of {dollars(limit, limit)}"
    if standing.held_nano:
        figures += f", {dollars(standing.held_nano, limit)} held"
    return Line(
        name=name or budget.name,
        url=page_of(budget),
        limit=limit_words(budget, limit),
        state=state,
        tone=tone,
        spent=spent,
        held=held,
        figures=figures,
        remaining=dollars(standing.remaining_nano),
        ends=at_words(standing.ends_at)
        if standing.ends_at is not None
        else "when reset by hand"
        if budget.window == Window.MANUAL
        else "never",
        since=since_words(standing.counts_from) if standing.counts_from is not None else "",
        earlier=earlier_words(standing),
        burn=f"{dollars(standing.burn_nano_per_hour)} an hour",
        outlook=_outlook(standing),
    )


def branches(node: Node, level: int = 0) -> Iterable[Branch]:
    yield Branch(level, ScopeKind(node.kind).label.partition(",")[0], node.name, tuple(map(line_of, node.standings)))
    for child in node.children:
        yield from branches(child, level + 1)


def member_lines(standings: Iterable[Standing]) -> list[Line]:
    """The lines of a group's budget: each member by name."""
    standings = list(standings)
    names = {row.pk: str(row) for row in Principal.objects.filter(pk__in={one.member_id for one in standings})}
    return [line_of(one, names.get(one.member_id, one.member_id)) for one in standings]


def override_words(override: Override, now: datetime) -> tuple[str, str]:
    """State and tone."""
    if override.withdrawn_at is not None:
        return "Withdrawn", PLAIN
    if override.until is not None and override.until <= now:
        return "Over", PLAIN
    return "Live", GOOD


def since_words(moment: datetime) -> str:
    return f"counts from {at_words(moment)}: what was spent earlier in this window is not in it"


def earlier_words(standing: Standing) -> str:
    nano, limit = standing.earlier_nano, standing.limit_nano
    if standing.adding_up:
        return f"still adding up what was spent in this window before it counted: {dollars(nano, limit)} as yet"
    if nano > 0:
        return f"{dollars(nano, limit)} of it were spent in this window before it counted them"
    if nano < 0:
        return f"{dollars(-nano, limit)} that were spent on what it does not cover any more are taken out"
    return ""


def at_words(at: datetime) -> str:
    return f"{at:%a %d %b %Y, %H:%M} UTC"


def _state(standing: Standing) -> tuple[str, str]:
    budget = standing.budget
    if not budget.enabled:
        return "Off", PLAIN
    if standing.exhausted:
        return ("Spent: blocks", BAD) if budget.on_breach == OnBreach.BLOCK else ("Spent: warns", WARN)
    if standing.percent >= NEAR_PERCENT:
        return f"{standing.percent} % spent", WARN
    return f"{standing.percent} % spent", GOOD


def _outlook(standing: Standing) -> str:
    """Says what happens if it goes on like this."""
    if standing.exhausted or not standing.settled_nano:
        return ""
    if standing.runs_out_at is not None:
        return f"spent by {at_words(standing.runs_out_at)}"
    if standing.projected_nano is not None:
        return f"{dollars(standing.projected_nano)} at its end"
    return ""
