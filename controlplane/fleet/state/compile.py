"""Rows of the database → rows of the core → serialised `Resource`s, for every kind that pods hold.

Total: a row that cannot be understood, or refers to what is another organization's, is compiled to its most restrictive
form and logged, so that one bad row takes nothing but itself out of service: a pod rejects an update with a reference
that leads nowhere as a whole. A word of a closed list that this version does not know goes to the pods as it is: they
refuse by it. Credentials are opened here and nowhere else on their way to the pods.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from django.db.models import F, Model, Prefetch, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from controlplane.changes.config import ConfigModel
from controlplane.changes.models import ResourceKind
from controlplane.environment import environment
from controlplane.fleet.state.catalogue import Ref
from controlplane.fleet.state.compile_budget import bare_budget, budget, budget_cover, budgets
from controlplane.keys.models import KeySecret, ModelAlias, VirtualKey
from controlplane.providers.credentials import credential_of
from controlplane.providers.models import PriceList, Provider
from controlplane.providers.price_entries import prices_of
from controlplane.providers.vault import CannotUnseal
from controlplane.providers.waits import core_waits
from controlplane.tenancy.models import GroupMember, Organization, Principal, Project
from dataplane.core import rows as core
from dataplane.core.money import prices
from dataplane.core.pushed import PUSHED
from dataplane.core.secret import Secret
from dataplane.wire.rows import KIND_NUMBERS, resource_from
from protos import fleet_pb2 as wire

log = logging.getLogger(__name__)

ROWS_AT_A_TIME = 1000
IDS_AT_A_TIME = 500  # SQLite's limit on parameters is 999 in old builds

_ALIAS_NAMES = ("project", "key", "provider")


def compile_all(revisions: Mapping[Ref, int]) -> dict[Ref, bytes]:
    """Every resource there is; `revisions` says at which each was touched last."""
    compiled: dict[Ref, bytes] = {}
    for source in SOURCES.values():
        compiled.update(source.compiled(source.rows(), revisions))
    return compiled


def compile_some(revisions: Mapping[Ref, int]) -> dict[Ref, bytes]:
    """The resources that `revisions` names; a deleted one is absent from the result."""
    compiled: dict[Ref, bytes] = {}
    for source in SOURCES.values():
        ids = [ref.id for ref in revisions if ref.kind == source.number]
        for start in range(0, len(ids), IDS_AT_A_TIME):
            rows = source.rows().filter(pk__in=ids[start : start + IDS_AT_A_TIME])
            compiled.update(source.compiled(rows, revisions))
    return compiled


@dataclass(frozen=True)
class Source:
    """One kind: its rows, what a row becomes, and what it becomes when that fails; of a rule, whom it binds."""

    kind: type[core.Row]
    rows: Callable[[], QuerySet[Any]]
    compile: Callable[[Any], core.Row]
    restricted: Callable[[Any], core.Row | None]  # None: as if it were not there
    cover: Callable[[Any], wire.Cover] | None = None  # None: it is no rule

    @property
    def number(self) -> int:
        """`ResourceKind`, as refs have it."""
        return KIND_NUMBERS[self.kind]

    def compiled(self, rows: QuerySet[Any], revisions: Mapping[Ref, int]) -> Iterator[tuple[Ref, bytes]]:
        for row in rows.iterator(ROWS_AT_A_TIME):
            ref = Ref(self.number, row.pk)
            resource = self._resource(row)
            if resource is None:
                continue
            resource.revision = revisions.get(ref, 0)
            if self.cover is not None:
                resource.cover.CopyFrom(self.cover(row))
            # Deterministic, so that every replica and every pod gets the same digest.
            yield ref, resource.SerializeToString(deterministic=True)

    def _resource(self, row: Model) -> wire.Resource | None:
        try:
            return resource_from(self.compile(row))
        except (TypeError, ValueError, KeyError, AttributeError, CannotUnseal) as problem:
            log.error("fleet_row_restricted kind=%s id=%s problem=%s", self.number, row.pk, type(problem).__name__)
            restricted = self.restricted(row)
            return None if restricted is None else resource_from(restricted)


def _organizations() -> QuerySet[Organization]:
    installation = PriceList.objects.filter(organization=None).values("pk")[:1]
    return Organization.objects.annotate(price_list_id=Coalesce("price_list__pk", Subquery(installation), Value("")))


def _organization(row: Any) -> core.Organization:
    return replace(
        _bare_organization(row),
        active=row.active,
        freshness_bound_ms=row.freshness_bound_s * 1000,
        cut_on_stale=row.cut_on_stale,
        cut_on_expiry=row.cut_on_expiry,
        contact=row.contact,
        price_list_id=row.price_list_id,
    )


def _bare_organization(row: Organization) -> core.Organization:
    return core.Organization(
        id=row.pk,
        active=False,
        freshness_bound_ms=0,
        cut_on_stale=False,
        contact="",
        price_list_id="",
        revision=0,
        cuts=row.cuts,
    )


def _project(row: Project) -> core.Project:
    return replace(_bare_project(row), active=row.active)


def _bare_project(row: Project) -> core.Project:
    return core.Project(row.pk, row.organization_id, row.team_id, active=False, revision=0, cuts=row.cuts)


def _principals() -> QuerySet[Principal]:
    places = GroupMember.objects.only("principal_id", "group_id", "organization_id").order_by("group_id")
    return Principal.objects.prefetch_related(Prefetch("group_places", places, to_attr="all_places"))


def _principal(row: Any) -> core.Principal:
    places = [place.group_id for place in row.all_places if place.organization_id == row.organization_id]
    return replace(_bare_principal(row), active=row.active, group_ids=tuple(places))


def _bare_principal(row: Principal) -> core.Principal:
    return core.Principal(row.pk, row.organization_id, active=False, revision=0, cuts=row.cuts)


def _virtual_keys() -> QuerySet[VirtualKey]:
    """Only what is sent: there may be 100,000 of them."""
    secrets = KeySecret.objects.only("key_id", "public_id", "pepper_version", "digest", "not_after")
    columns = (
        *("public_id", "state", "cut", "expires_at", "models_allowed", "providers_allowed", "tags", "updated_at"),
        *("organization_id", "team_id", "project_id", "principal_id", "cuts"),
    )
    rows = VirtualKey.objects.only(*columns).annotate(**_owners("project", "principal"))
    return rows.prefetch_related(Prefetch("secrets", secrets, to_attr="all_secrets"))


def _owners(*references: str) -> dict[str, F]:
    """Whose the rows are that a row refers to."""
    return {f"{name}_owner": F(f"{name}__organization_id") for name in references}


def _owned(row: Any, name: str) -> bool:
    """Whether a reference leads nowhere, or to something of the row's own organization."""
    return getattr(row, f"{name}_owner") in (None, row.organization_id)


def _demand_owned(row: Any, *references: str) -> None:
    """Raises ValueError."""
    for name in references:
        if not _owned(row, name):
            raise ValueError(f"its {name} is another organization's")


def _virtual_key(row: Any) -> core.VirtualKey:
    _demand_owned(row, "project", "principal")
    # The one in use has no end of its own, so it comes first; then those in grace, the latest end first.
    secrets = sorted(row.all_secrets, key=lambda secret: (-_ms(secret.not_after) or -(2**63), secret.public_id))
    return replace(
        _bare_virtual_key(row),
        state=core.KeyState(row.state),
        cut=row.cut,
        expires_at_ms=_ms(row.expires_at),
        models_allowed=_texts(row.models_allowed),
        providers_allowed=_texts(row.providers_allowed),
        tags=_texts(row.tags),
        secrets=tuple(
            core.KeySecret(secret.public_id, secret.pepper_version, bytes(secret.digest), _end_ms(secret, row))
            for secret in secrets
        ),
    )


def _end_ms(secret: KeySecret, key: VirtualKey) -> int:
    """What ended by our own clock (a rotation without grace) has ended for every pod, however late its clock is."""
    if secret.not_after is not None and secret.not_after <= key.updated_at:
        return 1
    return _ms(secret.not_after)


def _bare_virtual_key(row: Any) -> core.VirtualKey:
    return core.VirtualKey(
        id=row.pk,
        public_id=row.public_id,
        state=core.KeyState.DISABLED,
        secrets=(),
        expires_at_ms=0,
        organization_id=row.organization_id,
        team_id=row.team_id or "",
        project_id=row.project_id if _owned(row, "project") else "",
        principal_id=row.principal_id or "" if _owned(row, "principal") else "",
        models_allowed=(),
        providers_allowed=(),
        tags=(),
        cut=False,
        revision=0,
        cuts=row.cuts,
    )


def _provider(row: Provider) -> core.Provider:
    return replace(
        _bare_provider(row),
        credential=credential_of(row),
        enabled=row.enabled,
        priority=row.priority,
        models=_texts(row.models),
        deployments=tuple(row.deployments.items()),
        account_headers=tuple(sorted(row.account_headers.items())),
        waits=core_waits(row),
        no_stream_options=row.no_stream_options,
        private_network=environment().allow_private_providers,
    )


def _bare_provider(row: Provider) -> core.Provider:
    return core.Provider(
        id=row.pk,
        organization_id=row.organization_id,
        name=row.name,
        kind=cast(core.ProviderKind, row.kind),
        base_url=row.base_url,
        credential=Secret(b""),
        enabled=False,
        priority=0,
        models=(),
        api_version=row.api_version,
        deployments=(),
        unpriced=cast(core.Unpriced, row.unpriced),
        private_network=False,
        price_provider=row.price_provider,
        revision=0,
        cuts=row.cuts,
    )


def _model_aliases() -> QuerySet[ModelAlias]:
    return ModelAlias.objects.annotate(**_owners(*_ALIAS_NAMES))


def _model_alias(row: Any) -> core.ModelAlias:
    _demand_owned(row, *_ALIAS_NAMES)
    return core.ModelAlias(
        id=row.pk,
        organization_id=row.organization_id,
        project_id=row.project_id or "",
        key_id=row.key_id or "",
        alias=row.alias,
        provider_id=row.provider_id or "",
        model=row.model,
        revision=0,
    )


def _no_alias(row: Any) -> None:
    """Without one of its limits an alias would say more than it was meant to."""


def _price_list(row: PriceList) -> prices.PriceList:
    return replace(_bare_price_list(row), prices=prices_of(row.prices))


def _bare_price_list(row: PriceList) -> prices.PriceList:
    return prices.PriceList(row.pk, row.version, ())


def _texts(value: object) -> tuple[str, ...]:
    """A list of texts. Raises TypeError: an empty list means "all", so nothing else may be taken for one."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError("not a list of texts")
    return tuple(value)


def _ms(at: datetime | None) -> int:
    return 0 if at is None else int(at.timestamp() * 1000)


def _by_kind(*sources: Source) -> dict[ResourceKind, Source]:
    """Raises LookupError naming all that is left out: a fleet server with half a kind does not start."""
    missing = [*_left_out(sources), *_untouched(sources)]
    if missing:
        raise LookupError("; ".join(missing))
    return {ResourceKind(PUSHED[source.kind].wire): source for source in sources}


def _left_out(sources: Collection[Source]) -> Iterator[str]:
    fields = wire.Resource.DESCRIPTOR.oneofs_by_name["resource"].fields
    places: Mapping[str, Collection[str]] = {
        "field of Resource in protos/fleet.proto": {field.name for field in fields},
        "word in ResourceKind of controlplane/changes/models.py": set(ResourceKind.values),
        "Source in controlplane/fleet/state/compile.py": {
            PUSHED[source.kind].wire for source in sources if source.kind in PUSHED
        },
    }
    for name in sorted({name for names in places.values() for name in names}):
        yield from (f"{name}: no {what}" for what, names in places.items() if name not in names)


def _untouched(sources: Collection[Source]) -> Iterator[str]:
    """Without a touch the outbox never names a row, and pods would hear of it with the next full update only."""
    for source in sources:
        model = source.rows().model
        if model.touches is ConfigModel.touches:
            yield f"{model.__name__}: no touches in {model.__module__}"


SOURCES = _by_kind(
    Source(core.Organization, _organizations, _organization, _bare_organization),
    Source(core.Project, Project.objects.all, _project, _bare_project),
    Source(core.Principal, _principals, _principal, _bare_principal),
    Source(core.VirtualKey, _virtual_keys, _virtual_key, _bare_virtual_key),
    Source(core.Provider, Provider.objects.all, _provider, _bare_provider),
    Source(core.ModelAlias, _model_aliases, _model_alias, _no_alias),
    Source(prices.PriceList, PriceList.objects.all, _price_list, _bare_price_list),
    Source(core.Budget, budgets, budget, bare_budget, budget_cover),
)
KIND_OF = {kind: source.number for kind, source in SOURCES.items()}
