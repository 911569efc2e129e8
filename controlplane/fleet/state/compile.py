"""Rows → serialised `Resource`s, for every kind that pods hold.

Total: a row that cannot be understood, or refers to what is another organization's, is compiled to its most restrictive
form and logged, so that one bad row takes nothing but itself out of service: a pod rejects an update with a reference
that leads nowhere as a whole. Credentials are opened here and nowhere else on their way to the pods.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, Model, Prefetch, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from controlplane.changes.models import ResourceKind
from controlplane.environment import environment
from controlplane.fleet.state.catalogue import Ref
from controlplane.fleet.state.compile_budget import bare_budget, budget, budget_cover, budgets
from controlplane.keys.models import KeySecret, KeyState, ModelAlias, VirtualKey
from controlplane.providers.credentials import credential_of
from controlplane.providers.models import PriceList, Provider
from controlplane.providers.vault import CannotUnseal
from controlplane.tenancy.models import GroupMember, Organization, Principal, Project
from protos import fleet_pb2 as wire

log = logging.getLogger(__name__)

ROWS_AT_A_TIME = 1000
IDS_AT_A_TIME = 500  # SQLite's limit on parameters is 999 in old builds

_ALIAS_NAMES = ("project", "key", "provider")
_KEY_STATES = {
    KeyState.ACTIVE: wire.KEY_STATE_ACTIVE,
    KeyState.DISABLED: wire.KEY_STATE_DISABLED,
    KeyState.REVOKED: wire.KEY_STATE_REVOKED,
}


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
        ids = [ref.id for ref in revisions if ref.kind == source.kind]
        for start in range(0, len(ids), IDS_AT_A_TIME):
            rows = source.rows().filter(pk__in=ids[start : start + IDS_AT_A_TIME])
            compiled.update(source.compiled(rows, revisions))
    return compiled


@dataclass(frozen=True)
class Source:
    """One kind: its rows, what a row becomes, and what it becomes when that fails; of a rule, whom it binds."""

    kind: int
    rows: Callable[[], QuerySet[Any]]
    compile: Callable[[Any], wire.Resource]
    restricted: Callable[[Any], wire.Resource | None]  # None: as if it were not there
    cover: Callable[[Any], wire.Cover] | None = None  # None: it is no rule

    def compiled(self, rows: QuerySet[Any], revisions: Mapping[Ref, int]) -> Iterator[tuple[Ref, bytes]]:
        for row in rows.iterator(ROWS_AT_A_TIME):
            ref = Ref(self.kind, row.pk)
            resource = self._understood(row)
            if resource is None:
                continue
            resource.revision = revisions.get(ref, 0)
            if self.cover is not None:
                resource.cover.CopyFrom(self.cover(row))
            # Deterministic, so that every replica and every pod gets the same digest.
            yield ref, resource.SerializeToString(deterministic=True)

    def _understood(self, row: Model) -> wire.Resource | None:
        try:
            return self.compile(row)
        except (TypeError, ValueError, KeyError, AttributeError, CannotUnseal) as problem:
            log.error("fleet_row_restricted kind=%s id=%s problem=%s", self.kind, row.pk, type(problem).__name__)
            return self.restricted(row)


def _organizations() -> QuerySet[Organization]:
    installation = PriceList.objects.filter(organization=None).values("pk")[:1]
    return Organization.objects.annotate(price_list_id=Coalesce("price_list__pk", Subquery(installation), Value("")))


def _organization(row: Any) -> wire.Resource:
    resource = _bare_organization(row)
    organization = resource.organization
    organization.active = row.active
    organization.freshness_bound_ms = row.freshness_bound_s * 1000
    organization.cut_on_stale = row.cut_on_stale
    organization.contact = row.contact
    organization.price_list_id = row.price_list_id
    return resource


def _bare_organization(row: Organization) -> wire.Resource:
    return wire.Resource(organization=wire.Organization(id=row.pk))


def _project(row: Project) -> wire.Resource:
    resource = _bare_project(row)
    resource.project.active = row.active
    return resource


def _bare_project(row: Project) -> wire.Resource:
    return wire.Resource(project=wire.Project(id=row.pk, organization_id=row.organization_id, team_id=row.team_id))


def _principals() -> QuerySet[Principal]:
    places = GroupMember.objects.only("principal_id", "group_id", "organization_id").order_by("group_id")
    return Principal.objects.prefetch_related(Prefetch("group_places", places, to_attr="all_places"))


def _principal(row: Any) -> wire.Resource:
    resource = _bare_principal(row)
    resource.principal.active = row.active
    resource.principal.group_ids.extend(
        place.group_id for place in row.all_places if place.organization_id == row.organization_id
    )
    return resource


def _bare_principal(row: Principal) -> wire.Resource:
    return wire.Resource(principal=wire.Principal(id=row.pk, organization_id=row.organization_id))


def _virtual_keys() -> QuerySet[VirtualKey]:
    """Only what is sent: there may be 100,000 of them."""
    secrets = KeySecret.objects.only("key_id", "public_id", "pepper_version", "digest", "not_after")
    columns = (
        *("public_id", "state", "cut", "expires_at", "models_allowed", "providers_allowed", "tags", "updated_at"),
        *("organization_id", "team_id", "project_id", "principal_id"),
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


def _virtual_key(row: Any) -> wire.Resource:
    _demand_owned(row, "project", "principal")
    resource = _bare_virtual_key(row)
    key = resource.virtual_key
    key.state = _KEY_STATES[KeyState(row.state)]
    key.cut = row.cut
    key.expires_at_ms = _ms(row.expires_at)
    key.models_allowed.extend(_texts(row.models_allowed))
    key.providers_allowed.extend(_texts(row.providers_allowed))
    key.tags.extend(_texts(row.tags))
    # The one in use has no end of its own, so it comes first; then those in grace, the latest end first.
    for secret in sorted(row.all_secrets, key=lambda secret: (-_ms(secret.not_after) or -(2**63), secret.public_id)):
        key.secrets.add(
            public_id=secret.public_id,
            pepper_version=secret.pepper_version,
            digest=bytes(secret.digest),
            not_after_ms=_end_ms(secret, row),
        )
    return resource


def _end_ms(secret: KeySecret, key: VirtualKey) -> int:
    """What ended by our own clock (a rotation without grace) has ended for every pod, however late its clock is."""
    if secret.not_after is not None and secret.not_after <= key.updated_at:
        return 1
    return _ms(secret.not_after)


def _bare_virtual_key(row: Any) -> wire.Resource:
    return wire.Resource(
        virtual_key=wire.VirtualKey(
            id=row.pk,
            public_id=row.public_id,
            state=wire.KEY_STATE_DISABLED,
            organization_id=row.organization_id,
            team_id=row.team_id or "",
            project_id=row.project_id if _owned(row, "project") else "",
            principal_id=row.principal_id or "" if _owned(row, "principal") else "",
        )
    )


def _provider(row: Provider) -> wire.Resource:
    resource = _bare_provider(row)
    provider = resource.provider
    provider.credential = credential_of(row).reveal()
    provider.enabled = row.enabled
    provider.priority = row.priority
    provider.models.extend(_texts(row.models))
    for model, deployment in row.deployments.items():
        provider.deployments[model] = deployment
    provider.private_network = environment().allow_private_providers
    return resource


def _bare_provider(row: Provider) -> wire.Resource:
    return wire.Resource(
        provider=wire.Provider(
            id=row.pk,
            organization_id=row.organization_id,
            name=row.name,
            kind=row.kind,
            base_url=row.base_url,
            api_version=row.api_version,
            unpriced=row.unpriced,
            price_provider=row.price_provider,
        )
    )


def _model_aliases() -> QuerySet[ModelAlias]:
    return ModelAlias.objects.annotate(**_owners(*_ALIAS_NAMES))


def _model_alias(row: Any) -> wire.Resource:
    _demand_owned(row, *_ALIAS_NAMES)
    return wire.Resource(
        model_alias=wire.ModelAlias(
            id=row.pk,
            organization_id=row.organization_id,
            project_id=row.project_id or "",
            key_id=row.key_id or "",
            alias=row.alias,
            provider_id=row.provider_id or "",
            model=row.model,
        )
    )


def _no_alias(row: Any) -> None:
    """Without one of its limits an alias would say more than it was meant to."""


def _price_list(row: PriceList) -> wire.Resource:
    resource = _bare_price_list(row)
    for price in row.prices:
        resource.price_list.prices.append(wire.ModelPrice(**price))
    return resource


def _bare_price_list(row: PriceList) -> wire.Resource:
    return wire.Resource(price_list=wire.PriceList(id=row.pk, version=row.version))


def _texts(value: object) -> list[str]:
    """A list of texts. Raises TypeError: an empty list means "all", so nothing else may be taken for one."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError("not a list of texts")
    return value


def _ms(at: datetime | None) -> int:
    return 0 if at is None else int(at.timestamp() * 1000)


KIND_OF = {
    ResourceKind.ORGANIZATION: wire.RESOURCE_KIND_ORGANIZATION,
    ResourceKind.PROJECT: wire.RESOURCE_KIND_PROJECT,
    ResourceKind.PRINCIPAL: wire.RESOURCE_KIND_PRINCIPAL,
    ResourceKind.VIRTUAL_KEY: wire.RESOURCE_KIND_VIRTUAL_KEY,
    ResourceKind.PROVIDER: wire.RESOURCE_KIND_PROVIDER,
    ResourceKind.MODEL_ALIAS: wire.RESOURCE_KIND_MODEL_ALIAS,
    ResourceKind.PRICE_LIST: wire.RESOURCE_KIND_PRICE_LIST,
    ResourceKind.BUDGET: wire.RESOURCE_KIND_BUDGET,
}
SOURCES = {
    ResourceKind.ORGANIZATION: Source(
        wire.RESOURCE_KIND_ORGANIZATION, _organizations, _organization, _bare_organization
    ),
    ResourceKind.PROJECT: Source(wire.RESOURCE_KIND_PROJECT, Project.objects.all, _project, _bare_project),
    ResourceKind.PRINCIPAL: Source(wire.RESOURCE_KIND_PRINCIPAL, _principals, _principal, _bare_principal),
    ResourceKind.VIRTUAL_KEY: Source(wire.RESOURCE_KIND_VIRTUAL_KEY, _virtual_keys, _virtual_key, _bare_virtual_key),
    ResourceKind.PROVIDER: Source(wire.RESOURCE_KIND_PROVIDER, Provider.objects.all, _provider, _bare_provider),
    ResourceKind.MODEL_ALIAS: Source(wire.RESOURCE_KIND_MODEL_ALIAS, _model_aliases, _model_alias, _no_alias),
    ResourceKind.PRICE_LIST: Source(
        wire.RESOURCE_KIND_PRICE_LIST, PriceList.objects.all, _price_list, _bare_price_list
    ),
    ResourceKind.BUDGET: Source(wire.RESOURCE_KIND_BUDGET, budgets, budget, bare_budget, budget_cover),
}
