"""Rows of the snapshot ⇄ resources of the wire. Total in both directions.

A kind is sent as the field of Resource that it is registered with (`dataplane.core.pushed`); its message has the names
of its row's attributes. What this version does not understand of a newer control plane is read in the way that admits
least: an unknown key state is disabled, an unknown kind of provider is switched off, an unknown resource is no row.
`link.understanding` notes that it was not understood, and whom it covers is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from dataplane.core.money.prices import ModelPrice, PriceList, RateCard, RateTier
from dataplane.core.money.windows import WindowKind
from dataplane.core.pushed import PUSHED
from dataplane.core.rows import (
    Budget,
    KeySecret,
    KeyState,
    OnBreach,
    OutageRule,
    Override,
    Principal,
    Project,
    Provider,
    ProviderKind,
    Ref,
    Row,
    ScopeKind,
    Unpriced,
    VirtualKey,
)
from dataplane.core.secret import Secret
from dataplane.core.usage import UsageClass
from dataplane.core.waits import Wait
from protos import fleet_pb2 as pb

STATES: Final[Mapping[int, KeyState]] = {
    pb.KEY_STATE_ACTIVE: KeyState.ACTIVE,
    pb.KEY_STATE_DISABLED: KeyState.DISABLED,
    pb.KEY_STATE_REVOKED: KeyState.REVOKED,
}
_STATES_OUT: Final = {state: number for number, state in STATES.items()}
LONGEST_WORD: Final = 40
# Words of `Resource.needs`.
ACCOUNT_HEADERS: Final = "account_headers"
PRICE_GEOGRAPHY: Final = "price_geography"

_KINDS: Final = {str(kind): kind for kind in ProviderKind}
_UNPRICED: Final = {str(value): value for value in Unpriced}
_CLASSES: Final = {str(unit): unit for unit in UsageClass}
_SCOPES: Final = {str(scope): scope for scope in ScopeKind}
_WINDOWS: Final = {str(window): window for window in WindowKind}
_OUTAGE: Final = {str(rule): rule for rule in OutageRule}

_NAMES: Final[Mapping[type[Row], str]] = {row: kind.wire for row, kind in PUSHED.items() if kind.wire}
_MESSAGES: Final[Mapping[str, Any]] = {name: type(getattr(pb.Resource(), name)) for name in _NAMES.values()}
KIND_NUMBERS: Final[Mapping[type[Row], int]] = {
    row: pb.ResourceKind.Value(f"RESOURCE_KIND_{name.upper()}") for row, name in _NAMES.items()
}
KINDS: Final[Mapping[int, type[Row]]] = {number: row for row, number in KIND_NUMBERS.items()}
_FIELDS: Final = pb.Resource.DESCRIPTOR.oneofs_by_name["resource"].fields
if _UNREGISTERED := [field.name for field in _FIELDS if field.name not in _MESSAGES]:
    # A pod would fail at the first such resource.
    raise LookupError(f"{', '.join(_UNREGISTERED)}: no PushedKind in dataplane/core/pushed.py")


def row_from(resource: pb.Resource) -> Row | None:
    """None for a resource of a kind that this version does not know."""
    kind = resource.WhichOneof("resource")
    return None if kind is None else _READERS[kind](getattr(resource, kind), resource.revision)


def resource_from(row: Row) -> pb.Resource:
    """What the control plane sends of a row. Raises TypeError and ValueError for what its message cannot say."""
    name = _NAMES[type(row)]
    changed = _WRITTEN[type(row)](row) if type(row) in _WRITTEN else {}
    return pb.Resource(revision=row.revision, needs=_needs(row), **{name: _message(_MESSAGES[name], row, **changed)})


def ref_from(ref: pb.ResourceRef) -> Ref | None:
    kind = KINDS.get(ref.kind)
    return None if kind is None else (kind, ref.id)


# From the wire.


def _project(wire: pb.Project, revision: int) -> Project:
    return Project(
        sys.intern(wire.id), sys.intern(wire.organization_id), wire.team_id, wire.active, revision, wire.cuts
    )


def _principal(wire: pb.Principal, revision: int) -> Principal:
    id, organization_id = sys.intern(wire.id), sys.intern(wire.organization_id)
    return Principal(id, organization_id, wire.active, revision, tuple(wire.group_ids), wire.cuts)


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
        cuts=wire.cuts,
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
        account_headers=tuple(sorted(wire.account_headers.items())),
        revision=revision,
        cuts=wire.cuts,
        waits=tuple(Wait(wait.models, max(0, wait.first_byte_s), max(0, wait.idle_s)) for wait in wire.waits),
        no_stream_options=wire.no_stream_options,
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
            dict(price.geo_percent),
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
        lease_epoch=wire.lease_epoch,
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
    """As much of an unknown word as people need, and safe to show."""
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


def _by_name(row: type[Row], name: str) -> Callable[[Any, int], Row]:
    """For a row whose attributes are the message's fields, lists as tuples."""
    make: Callable[..., Row] = row
    fields = [(field.name, field.is_repeated) for field in _MESSAGES[name].DESCRIPTOR.fields]

    def read(wire: Any, revision: int) -> Row:
        values = {
            field: tuple(getattr(wire, field)) if repeated else getattr(wire, field) for field, repeated in fields
        }
        return make(revision=revision, **values)

    return read


# Those that are read otherwise, or by the hundred thousand.
_READ: Final[Mapping[type[Row], Callable[[Any, int], Row]]] = {
    Project: _project,
    Principal: _principal,
    VirtualKey: _virtual_key,
    Provider: _provider,
    PriceList: _price_list,
    Budget: _budget,
}
_READERS: Final[Mapping[str, Callable[[Any, int], Row]]] = {
    name: _READ[row] if row in _READ else _by_name(row, name) for row, name in _NAMES.items()
}


# To the wire.


def _message(kind: Any, row: object, **changed: Any) -> Any:
    """A message of this kind with the attributes of `row` that bear its fields' names; of those, `changed` instead."""
    names = kind.DESCRIPTOR.fields_by_name
    return kind(**{name: changed[name] if name in changed else getattr(row, name) for name in names})


def _key_words(key: VirtualKey) -> dict[str, Any]:
    return {"state": _STATES_OUT[key.state], "secrets": [_message(pb.KeySecret, secret) for secret in key.secrets]}


def _provider_words(provider: Provider) -> dict[str, Any]:
    return {
        "credential": provider.credential.reveal(),
        "deployments": dict(provider.deployments),
        "account_headers": dict(provider.account_headers),
        "waits": [_message(pb.Wait, wait) for wait in provider.waits],
    }


def _prices(listed: PriceList) -> dict[str, Any]:
    return {
        "prices": [
            _message(
                pb.ModelPrice,
                price,
                cards=[_card_message(card) for card in price.cards],
                geo_percent=dict(price.geo_percent),
            )
            for price in listed.prices
        ]
    }


def _card_message(card: RateCard) -> pb.RateCard:
    tiers = [_message(pb.RateTier, tier, rates_pico=dict(tier.rates_pico)) for tier in card.tiers]
    message: pb.RateCard = _message(pb.RateCard, card, tiers=tiers)
    return message


def _needs(row: Row) -> tuple[str, ...]:
    """A pod that left these headers out would ask another account of the provider's; one that did not look where an
    answer was made would book too little."""
    if isinstance(row, Provider):
        return (ACCOUNT_HEADERS,) if row.account_headers else ()
    if isinstance(row, PriceList) and any(price.geo_percent for price in row.prices):
        return (PRICE_GEOGRAPHY,)
    return ()


def _overrides(budget: Budget) -> dict[str, Any]:
    return {"overrides": [_message(pb.BudgetOverride, override) for override in budget.overrides]}


# What a message says otherwise than its row does.
_WRITTEN: Final[Mapping[type[Row], Callable[[Any], dict[str, Any]]]] = {
    VirtualKey: _key_words,
    Provider: _provider_words,
    PriceList: _prices,
    Budget: _overrides,
}
