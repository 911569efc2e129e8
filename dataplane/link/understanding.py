"""What of a resource this version does not understand: `doubt` says so, and whom it covers.

The control plane may be newer. What it says in an unknown kind, an unknown word or under an unknown need is a rule that
must not be ignored; protos/README.md has the whole agreement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import nsmallest
from typing import Final

from dataplane.core.money.prices import PriceList
from dataplane.core.money.windows import ANCHORS, WindowKind, known_zone
from dataplane.core.pushed import PUSHED
from dataplane.core.rows import (
    Budget,
    NotUnderstood,
    OnBreach,
    OutageRule,
    Provider,
    ProviderKind,
    Row,
    Scope,
    ScopeKind,
    Unpriced,
    VirtualKey,
)
from dataplane.core.snapshot import Snapshot
from dataplane.wire.rows import ACCOUNT_HEADERS, KIND_NUMBERS, PRICE_GEOGRAPHY, STATES, printable, unread_price
from dataplane.wire.updates import unknown_identity
from protos import fleet_pb2 as pb

# What `Resource.needs` may name and this version obeys.
KNOWN_NEEDS: Final = frozenset({ACCOUNT_HEADERS, PRICE_GEOGRAPHY})

WORDS_NAMED: Final = 3
ITEMS_TOLD: Final = 20

_SCOPES: Final = {str(scope): scope for scope in ScopeKind}
_ANCHORS: Final = {str(kind): (lowest, highest) for kind, (lowest, highest, _) in ANCHORS.items()}


def doubt(resource: pb.Resource, row: Row | None, sent: bytes) -> NotUnderstood | None:
    """None for what is understood. `row`: what could be read of it; `sent`: its bytes."""
    unknown_words = _UNKNOWN_WORDS.get(type(row))
    problems = list(unknown_words(resource)) if unknown_words is not None else []
    if needs := [need for need in resource.needs if need not in KNOWN_NEEDS]:
        problems += [f"it needs '{printable(need)}'" for need in needs]
    if not problems:
        return None
    kind_name = str(resource.WhichOneof("resource"))
    if row is None:
        kind, id, organization_id = unknown_identity(sent)
        kind_name, everybody = f"kind {kind}", not organization_id
        covers: tuple[Scope, ...] = ((ScopeKind.ORGANIZATION, organization_id),) if organization_id else ()
    else:
        kind, id = KIND_NUMBERS[type(row)], row.id
        organization_id = PUSHED.organization_of(row)
        covers, everybody = _covered_by_itself(row, organization_id, bool(needs))
    if resource.HasField("cover"):
        covers, owner = _covers(resource.cover), resource.cover.organization_id
        organization_id = owner if row is None else organization_id or owner
        everybody = not owner or owner != organization_id  # of two owners neither can be believed
    return NotUnderstood(
        id=f"{kind}/{id}",
        kind=kind,
        kind_name=kind_name,
        resource_id=id,
        organization_id=organization_id,
        covers=covers,
        everybody=everybody,
        problem=_listed(problems),
        revision=resource.revision,
    )


def summary(snapshot: Snapshot, *, with_keys: bool = False) -> pb.NotUnderstood:
    """What the control plane hears of all this. `with_keys`: how many are refused, which has to be counted."""
    rows = snapshot.not_understood
    items = [
        pb.NotUnderstood.Item(kind=rows[id].kind, id=rows[id].resource_id, problem=rows[id].problem)  # type: ignore[arg-type]
        for id in nsmallest(ITEMS_TOLD, rows)
    ]
    return pb.NotUnderstood(items=items, count=len(rows), keys=snapshot.refused_keys() if with_keys else 0)


def _covers(cover: pb.Cover) -> tuple[Scope, ...]:
    """A scope that says nothing to this version may be wider than those beside it: the whole organization."""
    if not cover.organization_id:
        return ()
    if not cover.scopes or any(scope.kind not in _SCOPES or not scope.id for scope in cover.scopes):
        return ((ScopeKind.ORGANIZATION, cover.organization_id),)
    return tuple((_SCOPES[scope.kind], scope.id) for scope in cover.scopes)


def _covered_by_itself(row: Row, organization_id: str, needs: bool) -> tuple[tuple[Scope, ...], bool]:
    """Whom a known kind without a Cover covers, and whether that is everybody."""
    kind = PUSHED[type(row)]
    if kind.only_requests:
        return (), needs and not kind.owner  # of a list of prices only the ones in doubt, unless all of it is
    if kind.own_scope is not None:
        return ((kind.own_scope, row.id),), False
    return ((ScopeKind.ORGANIZATION, organization_id),), False


def _unknown(name: str, word: str, words: Iterable[str]) -> Iterator[str]:
    if word not in words:
        yield f"{name} '{printable(word)}' is unknown"


def _kind_itself(resource: pb.Resource) -> Iterable[str]:
    return ("this kind of resource is unknown",)


def _key_words(resource: pb.Resource) -> Iterable[str]:
    state = resource.virtual_key.state
    return () if state in STATES else (f"state {state} is unknown",)  # there may be 100,000 keys


def _provider_words(resource: pb.Resource) -> Iterator[str]:
    provider = resource.provider
    if provider.enabled:
        yield from _unknown("kind", provider.kind, tuple(ProviderKind))
        yield from _unknown("unpriced", provider.unpriced, ("", *Unpriced))


def _budget_words(resource: pb.Resource) -> Iterator[str]:
    budget = resource.budget
    if not budget.enabled:
        return
    yield from _unknown("scope", budget.scope_kind, _SCOPES)
    yield from _unknown("window", budget.window, tuple(WindowKind))
    yield from _unknown("on_breach", budget.on_breach, ("", *OnBreach))
    yield from _unknown("outage", budget.outage, ("", *OutageRule))
    if budget.timezone and not known_zone(budget.timezone):
        yield f"time zone '{printable(budget.timezone)}' is unknown"
    lowest, highest = _ANCHORS.get(budget.window, (budget.anchor, budget.anchor))
    if budget.anchor and not lowest <= budget.anchor <= highest:
        yield f"anchor {budget.anchor} is unknown"


def _price_words(resource: pb.Resource) -> Iterator[str]:
    for price in resource.price_list.prices:
        if unread := unread_price(price):
            yield f"{printable(price.model)}: {unread}"


_UNKNOWN_WORDS: Final[Mapping[type, Callable[[pb.Resource], Iterable[str]]]] = {
    type(None): _kind_itself,
    VirtualKey: _key_words,
    Provider: _provider_words,
    Budget: _budget_words,
    PriceList: _price_words,
}


def _listed(problems: list[str]) -> str:
    more = f" and {len(problems) - WORDS_NAMED} more" if len(problems) > WORDS_NAMED else ""
    return ", ".join(problems[:WORDS_NAMED]) + more
