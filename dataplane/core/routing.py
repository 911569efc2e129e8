"""Where a request goes: from the client's model name to a provider and its model name.

In this order: alias (of the key, its project, its organization) → `provider/model` → providers that declare the model,
by name before by glob → providers whose kind's own names match; among equals the lowest priority number, then the id.
The first one that speaks the client's dialect and that the key allows is taken. What the key allows is judged after the
alias, on `model` and on `provider/model`.

A provider that this pod does not understand has its place in that order, but a request that would go there is refused,
not sent elsewhere. One that declares no models comes last, since its kind's own names are unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

from dataplane.core import refusals, understanding
from dataplane.core.catalogue import Use, released_ms, use_of
from dataplane.core.errors import Code, Refusal
from dataplane.core.globs import GlobSet, compiled
from dataplane.core.kinds import dialects_of, names_of
from dataplane.core.money.prices import price_family
from dataplane.core.snapshot import OrganizationView, Provider, Snapshot, VirtualKey
from dataplane.core.waits import waits_for

# Fine-tuned models have the longest names, about 100 characters.
LONGEST_NAME: Final = 256

# What is remembered per organization until something in it changes: candidates for each combination of allow-lists,
# dialect and model, lists of reachable models for each of allow-lists and dialect.
REMEMBERED: Final = 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One provider that can answer, and what it calls the model."""

    provider: Provider
    model: str
    # Seconds until the first byte and between two of them, where the provider's row says it; 0: as the pod does.
    waits: tuple[int, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "waits", waits_for(self.provider.waits, self.model))


@dataclass(frozen=True, slots=True)
class ReachableModel:
    """A name that a client may ask for: an alias or a model; `owned_by` is the provider's name.

    `released_ms` and `use` are those of the model that answers; 0: nobody knows since when it is sold.
    """

    id: str
    owned_by: str
    released_ms: int = 0
    use: Use = Use.CHAT


def resolve(snapshot: Snapshot, key: VirtualKey, dialect: str, model: str) -> Candidate:
    """The candidate for `model` (as the client wrote it). Remembered. Raises Refusal."""
    view = snapshot.view(key.organization_id)
    question = (_scopes(view, key), key.models_allowed, key.providers_allowed, dialect, model)
    answer = cast("Candidate | None", view.remembered.get(question))
    return answer or _remember(view, question, _resolve(snapshot, key, dialect, model))


def _resolve(snapshot: Snapshot, key: VirtualKey, dialect: str | None, model: str) -> Candidate:
    if not model:
        raise Refusal(Code.MISSING_MODEL, "the request names no model")
    if len(model) > LONGEST_NAME:
        raise Refusal(Code.BAD_REQUEST, f"the model's name is longer than {LONGEST_NAME} characters")
    view = snapshot.view(key.organization_id)
    alias = view.alias(key, model)
    if alias is not None and alias.id in view.doubtful:
        raise understanding.in_the_way(view.doubtful[alias.id], key)
    usable = [provider for provider in _in_order(view) if _usable(key, provider)]
    serving = _candidates(view, key, model, usable)
    allowed = [candidate for candidate in serving if _allowed(key, candidate.provider, candidate.model)]
    for candidate in allowed:
        if candidate.provider.id in view.doubtful:
            raise understanding.in_the_way(view.doubtful[candidate.provider.id], key)
        if _speaks(candidate.provider, dialect):
            _demand_its_price(view, candidate)
            return candidate
    use = use_of(model)
    names = [reachable.id for reachable in reachable_models(snapshot, key, dialect) if reachable.use is use]
    elsewhere = allowed[0].provider if allowed else None
    raise refusals.unroutable(view, key, dialect or "", model, usable, bool(serving), elsewhere, names)


def for_dialect(snapshot: Snapshot, key: VirtualKey, dialect: str) -> Candidate:
    """For requests that name no model (stored responses, cached contents): the first provider that speaks the dialect.

    The candidate's model is empty. Raises Refusal.
    """
    view = snapshot.view(key.organization_id)
    for provider in view.providers:
        if _usable(key, provider) and dialect in dialects_of(provider.kind):
            return Candidate(provider, "")
    for provider in view.strange:
        if _usable(key, provider):
            raise understanding.in_the_way(view.doubtful[provider.id], key)
    raise refusals.no_provider(view, dialect)


def refuse_unless_open(snapshot: Snapshot, key: VirtualKey, candidate: Candidate) -> None:
    """For a candidate found a while ago: whether the key may still use it. Both as `snapshot` has them."""
    view = snapshot.view(key.organization_id)
    provider = view.by_id.get(candidate.provider.id)
    if provider is None or not _usable(key, provider):
        raise refusals.closed(view, candidate.provider, on=provider is not None)
    if provider.id in view.doubtful:
        raise understanding.in_the_way(view.doubtful[provider.id], key)
    if candidate.model and not _allowed(key, provider, candidate.model):
        raise refusals.not_allowed(view, candidate.model)


def refuse_other_models(snapshot: Snapshot, key: VirtualKey, candidate: Candidate, models: Iterable[str]) -> None:
    """Of those that a request names beside the one that answers, each has to be allowed, too. Raises Refusal."""
    view = snapshot.view(key.organization_id)
    for model in models:
        if not _allowed(key, candidate.provider, model):
            raise refusals.not_allowed(view, model)
        _demand_its_price(view, Candidate(candidate.provider, model))


def _in_order(view: OrganizationView) -> Sequence[Provider]:
    """With those that are not understood."""
    if not view.strange:
        return view.providers
    return sorted((*view.providers, *view.strange), key=lambda provider: (provider.priority, provider.id))


def _demand_its_price(view: OrganizationView, candidate: Candidate) -> None:
    """A price that is understood in part only would book too little. Raises Refusal."""
    price = view.prices.find(candidate.provider, candidate.model) if view.prices is not None else None
    if price is not None and price.unread:
        raise understanding.unread_price(candidate.model, price.unread)


def reachable_models(snapshot: Snapshot, key: VirtualKey, dialect: str | None) -> Sequence[ReachableModel]:
    """Every name that `resolve` accepts and that we can tell: aliases, declared models, and the price list's models for
    providers that declare globs or nothing. The newest first, of one day aliases first and then by name; with `dialect`
    only what speaks it.

    Remembered: pickers ask for it in bursts, and every refusal of a model names some of it.
    """
    view = snapshot.view(key.organization_id)
    question = (_scopes(view, key), key.models_allowed, key.providers_allowed, dialect)
    answer = cast("tuple[ReachableModel, ...] | None", view.remembered.get(question))
    if answer is not None:
        return answer
    newest_first = sorted(_reachable(view, key, dialect), key=lambda model: -model.released_ms)
    return _remember(view, question, tuple(newest_first))


def reachable_model(snapshot: Snapshot, key: VirtualKey, dialect: str | None, name: str) -> ReachableModel:
    """One name, listed or not: what a request for it would meet. Without `dialect`, in whichever speaks it.

    Raises the Refusal that the request would get.
    """
    candidate = _resolve(snapshot, key, dialect, name) if dialect is None else resolve(snapshot, key, dialect, name)
    return _described(snapshot.view(key.organization_id), name, candidate)


def _described(view: OrganizationView, name: str, candidate: Candidate) -> ReachableModel:
    """The date in the name is the model's own; else the price list may know one."""
    provider, model = candidate.provider, candidate.model
    at = released_ms(model)
    if not at and view.prices is not None:
        price = view.prices.find(provider, model)
        at = price.released_ms if price is not None else 0
    return ReachableModel(name, provider.name, at, use_of(model))


def _speaks(provider: Provider, dialect: str | None) -> bool:
    return dialect is None or dialect in dialects_of(provider.kind)


def _scopes(view: OrganizationView, key: VirtualKey) -> tuple[str, str]:
    """Whose aliases hold for the key, beside the organization's."""
    return (key.id if key.id in view.scopes else "", key.project_id if key.project_id in view.scopes else "")


def _remember(view: OrganizationView, question: object, answer: T) -> T:
    if len(view.remembered) >= REMEMBERED:
        view.remembered.clear()
    view.remembered[question] = answer
    return answer


def _reachable(view: OrganizationView, key: VirtualKey, dialect: str | None) -> Iterator[ReachableModel]:
    usable = [provider for provider in view.providers if _usable(key, provider)]
    aliases = {name for scope, name in view.aliases if scope in (key.id, key.project_id, "")}
    models = {name for provider in usable for name in _known_names(view, provider)}
    for name in (*sorted(aliases), *sorted(models - aliases)):
        for candidate in _candidates(view, key, name, usable):
            if candidate.provider.id in view.doubtful:
                continue
            if _speaks(candidate.provider, dialect) and _allowed(key, candidate.provider, candidate.model):
                yield _described(view, name, candidate)
                break


def declared(provider: Provider) -> GlobSet:
    """The models that an admin said it serves; empty: its kind's own names."""
    return compiled((*provider.models, *(model for model, _ in provider.deployments)))


def _candidates(view: OrganizationView, key: VirtualKey, model: str, usable: Sequence[Provider]) -> list[Candidate]:
    """All that can answer, best first, whatever dialect they speak and whatever models the key allows."""
    alias = view.alias(key, model)
    if alias is not None:
        model = alias.model
        if alias.provider_id:
            target = view.by_id.get(alias.provider_id)
            return [Candidate(target, model)] if target is not None and _usable(key, target) else []
    name, _, rest = model.partition("/")
    named = view.by_name.get(name) if rest else None
    if named is not None:
        serves = declared(named)
        return [Candidate(named, rest)] if _usable(key, named) and (not serves or serves.matches(rest)) else []
    by_name, by_glob, by_kind, unknown = [], [], [], []
    for provider in usable:
        serves = declared(provider)
        if model in serves.names:
            by_name.append(Candidate(provider, model))
        elif serves.matches(model):
            by_glob.append(Candidate(provider, model))
        elif not serves and provider.id in view.doubtful:
            unknown.append(Candidate(provider, model))
        elif not serves and names_of(provider.kind).matches(model):
            by_kind.append(Candidate(provider, model))
    return [*by_name, *by_glob, *by_kind, *unknown]


def _usable(key: VirtualKey, provider: Provider) -> bool:
    return not key.providers_allowed or provider.id in key.providers_allowed


def _allowed(key: VirtualKey, provider: Provider, model: str) -> bool:
    if not key.models_allowed:
        return True
    allowed = compiled(key.models_allowed)
    return allowed.matches(model) or allowed.matches(f"{provider.name}/{model}")


def _known_names(view: OrganizationView, provider: Provider) -> Iterable[str]:
    serves = declared(provider)
    yield from serves.names
    if view.prices is not None and (serves.globs or not serves):
        patterns = serves if serves else names_of(provider.kind)
        yield from (name for name in view.prices.models(price_family(provider)) if patterns.matches(name))
