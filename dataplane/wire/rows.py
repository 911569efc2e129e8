"""Rows of the snapshot ⇄ resources of the wire. Total in both directions.

What this version does not understand of a newer control plane is read in the way that admits least: an unknown key
state is disabled, an unknown kind of provider is switched off, an unknown resource is no row. `understanding.py` notes
that it was not understood, and whom it covers is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from dataplane.core.money.prices import ModelPrice, PriceList, RateCard, RateTier
from dataplane.core.money.windows import WindowKind
from dataplane.core.secret import Secret
from dataplane.core.snapshot import (
    Budget,
    KeySecret,
    KeyState,
    ModelAlias,
    OnBreach,
    Organization,
    OutageRule,
    Override,
    Principal,
    Project,
    Provider,
    ProviderKind,
    Ref,
    ScopeKind,
    Understood,
    Unpriced,
    VirtualKey,
)
from dataplane.core.usage import UsageClass
from protos import fleet_pb2 as pb

STATES: Final[Mapping[int, KeyState]] = {
    pb.KEY_STATE_ACTIVE: KeyState.ACTIVE,
    pb.KEY_STATE_DISABLED: KeyState.DISABLED,
    pb.KEY_STATE_REVOKED: KeyState.REVOKED,
}
_STATES_OUT: Final = {state: number for number, state in STATES.items()}
LONGEST_WORD: Final = 40

_KINDS: Final = {str(kind): kind for kind in ProviderKind}
_UNPRICED: Final = {str(value): value for value in Unpriced}
_CLASSES: Final = {str(unit): unit for unit in UsageClass}
_SCOPES: Final = {str(scope): scope for scope in ScopeKind}
_WINDOWS: Final = {str(window): window for window in WindowKind}
_OUTAGE: Final = {str(rule): rule for rule in OutageRule}

KINDS: Final[Mapping[int, type[Understood]]] = {
    pb.RESOURCE_KIND_ORGANIZATION: Organization,
    pb.RESOURCE_KIND_PROJECT: Project,
    pb.RESOURCE_KIND_PRINCIPAL: Principal,
    pb.RESOURCE_KIND_VIRTUAL_KEY: VirtualKey,
    pb.RESOURCE_KIND_PROVIDER: Provider,
    pb.RESOURCE_KIND_MODEL_ALIAS: ModelAlias,
    pb.RESOURCE_KIND_PRICE_LIST: PriceList,
    pb.RESOURCE_KIND_BUDGET: Budget,
}


KIND_NUMBERS: Final[Mapping[type[Understood], int]] = {kind: number for number, kind in KINDS.items()}


def row_from(resource: pb.Resource) -> Understood | None:
    """None for a resource of a kind that this version does not know."""
    kind = resource.WhichOneof("resource")
    return None if kind is None else _READERS[kind](getattr(resource, kind), resource.revision)


def ref_from(ref: pb.ResourceRef) -> Ref | None:
    kind = KINDS.get(ref.kind)
    return None if kind is None else (kind, ref.id)


def _organization(wire: pb.Organization, revision: int) -> Organization:
    return Organization(
        id=wire.id,
        active=wire.active,
        freshness_bound_ms=wire.freshness_bound_ms,
        cut_on_stale=wire.cut_on_stale,
        contact=wire.contact,
        price_list_id=wire.price_list_id,
        revision=revision,
    )


def _project(wire: pb.Project, revision: int) -> Project:
    return Project(sys.intern(wire.id), sys.intern(wire.organization_id), wire.team_id, wire.active, revision)


def _principal(wire: pb.Principal, revision: int) -> Principal:
    id, organization_id = sys.intern(wire.id), sys.intern(wire.organization_id)
    return Principal(id, organization_id, wire.active, revision, tuple(wire.group_ids))


def _virtual_key(wire: pb.VirtualKey, revision: int) -> VirtualKey:
    """There may be 100,000, and a third of their weight is ids that they have in common: one text each (sys.intern)."""
    public_id = wire.public_id
    return VirtualKey(
        id=wire.id,
        public_id=public_id,
        state=STATES.get(wire.state, KeyState.DISABLED),
        secrets=tuple(
            [
                KeySecret(
                    public_id if secret.public_id == public_id else secret.public_id,
                    secret.pepper_version,
                    secret.digest,
                    secret.not_after_ms,
                )
                for secret in wire.secrets
            ]
        ),
        expires_at_ms=wire.expires_at_ms,
        organization_id=sys.intern(wire.organization_id),
        team_id=sys.intern(wire.team_id),
        project_id=sys.intern(wire.project_id),
        principal_id=sys.intern(wire.principal_id),
        models_allowed=tuple(wire.models_allowed),
        providers_allowed=tuple(wire.providers_allowed),
        tags=tuple(wire.tags),
        cut=wire.cut,
        revision=revision,
    )


def _provider(wire: pb.Provider, revision: int) -> Provider:
    kind = _KINDS.get(wire.kind)
    return Provider(
        id=wire.id,
        organization_id=wire.organization_id,
        name=wire.name,
        kind=kind or ProviderKind.OPENAI_COMPATIBLE,
        base_url=wire.base_url,
        credential=Secret(wire.credential),
        enabled=wire.enabled and kind is not None,
        priority=wire.priority,
        models=tuple(wire.models),
        api_version=wire.api_version,
        deployments=tuple(sorted(wire.deployments.items())),
        unpriced=_UNPRICED.get(wire.unpriced, Unpriced.REFUSE),
        private_network=wire.private_network,
        price_provider=wire.price_provider,
        revision=revision,
    )


def _model_alias(wire: pb.ModelAlias, revision: int) -> ModelAlias:
    return ModelAlias(
        wire.id,
        wire.organization_id,
        wire.project_id,
        wire.key_id,
        wire.alias,
        wire.provider_id,
        wire.model,
        revision,
    )


def _price_list(wire: pb.PriceList, revision: int) -> PriceList:
    prices = tuple(
        ModelPrice(
            price.provider,
            price.model,
            tuple(price.match),
            tuple(_card(card) for card in price.cards),
            price.released_ms,
            price.unlisted,
            unread_price(price),
        )
        for price in wire.prices
    )
    return PriceList(wire.id, wire.version, prices, revision)


def _budget(wire: pb.Budget, revision: int) -> Budget:
    """One whose scope or window is unknown has no accounts here: the control plane would not know them."""
    scope, window = _SCOPES.get(wire.scope_kind), _WINDOWS.get(wire.window)
    return Budget(
        id=wire.id,
        organization_id=wire.organization_id,
        name=wire.name,
        scope_kind=scope or ScopeKind.ORGANIZATION,
        scope_id=wire.scope_id,
        scope_name=wire.scope_name,
        provider_id=wire.provider_id,
        model_pattern=wire.model_pattern,
        window=window or WindowKind.TOTAL,
        timezone=wire.timezone,
        anchor=wire.anchor,
        resets=wire.resets,
        limit_nano=wire.limit_nano,
        overrides=tuple(Override(override.extra_nano, override.until_ms) for override in wire.overrides),
        on_breach=OnBreach.WARN if wire.on_breach == OnBreach.WARN else OnBreach.BLOCK,
        outage=_OUTAGE.get(wire.outage, OutageRule.STRICT),
        overdraft_nano=wire.overdraft_nano,
        thresholds=tuple(wire.thresholds),
        contact=wire.contact,
        enabled=wire.enabled and scope is not None and window is not None,
        revision=revision,
    )


def unread_price(price: pb.ModelPrice) -> str:
    """What of it this version cannot charge for, in words; "" where it can read all."""
    for card in price.cards:
        if not card.tiers:
            return "it has no rates"
        for tier in card.tiers:
            for unit in tier.rates_pico:
                if unit not in _CLASSES:
                    return f"unit '{printable(unit)}' is unknown"
    return ""


def printable(word: str) -> str:
    """As much of an unknown word as people need, whoever reads it."""
    return "".join(letter if letter.isprintable() else "?" for letter in word[:LONGEST_WORD])


def _card(wire: pb.RateCard) -> RateCard:
    tiers = tuple(
        RateTier(
            tier.above_input_tokens,
            {_CLASSES[unit]: rate for unit, rate in tier.rates_pico.items() if unit in _CLASSES},
        )
        for tier in wire.tiers
    )
    return RateCard(wire.service_tier, wire.speed, wire.valid_from_ms, wire.valid_until_ms, tiers)


_READERS: Final[Mapping[str, Callable[[Any, int], Understood]]] = {
    "organization": _organization,
    "project": _project,
    "principal": _principal,
    "virtual_key": _virtual_key,
    "provider": _provider,
    "model_alias": _model_alias,
    "price_list": _price_list,
    "budget": _budget,
}


def resource_from(row: Understood) -> pb.Resource:
    """The way back: what a control plane would have sent."""
    match row:
        case Organization():
            return pb.Resource(revision=row.revision, organization=_fields(pb.Organization, row))
        case Project():
            return pb.Resource(revision=row.revision, project=_fields(pb.Project, row))
        case Principal():
            return pb.Resource(revision=row.revision, principal=_fields(pb.Principal, row))
        case VirtualKey():
            secrets = [_fields(pb.KeySecret, secret) for secret in row.secrets]
            key = _fields(pb.VirtualKey, row, state=_STATES_OUT[row.state], secrets=secrets)
            return pb.Resource(revision=row.revision, virtual_key=key)
        case Provider():
            provider = _fields(pb.Provider, row, credential=row.credential.reveal(), deployments=dict(row.deployments))
            return pb.Resource(revision=row.revision, provider=provider)
        case ModelAlias():
            return pb.Resource(revision=row.revision, model_alias=_fields(pb.ModelAlias, row))
        case PriceList():
            prices = [
                _fields(pb.ModelPrice, price, cards=[_card_out(card) for card in price.cards]) for price in row.prices
            ]
            return pb.Resource(revision=row.revision, price_list=_fields(pb.PriceList, row, prices=prices))
        case Budget():
            overrides = [_fields(pb.BudgetOverride, override) for override in row.overrides]
            return pb.Resource(revision=row.revision, budget=_fields(pb.Budget, row, overrides=overrides))


def _card_out(card: RateCard) -> Any:
    tiers = [
        pb.RateTier(
            above_input_tokens=tier.above_input_tokens,
            rates_pico={str(unit): rate for unit, rate in tier.rates_pico.items()},
        )
        for tier in card.tiers
    ]
    return _fields(pb.RateCard, card, tiers=tiers)


def _fields(message: Any, row: object, **instead: Any) -> Any:
    """`message` with the attributes of `row` that bear its fields' names."""
    names = message.DESCRIPTOR.fields_by_name
    return message(**{name: instead[name] if name in instead else getattr(row, name) for name in names})
