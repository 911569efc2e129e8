"""The rows of a snapshot, as the wire brings them: immutable, normalised, referring to each other by id.

Each has the `id` of the control plane and the `revision` of the last change that touched it. Which kinds there are,
what they refer to and where they are seen is registered in `pushed.py`; `PriceList` is in `money/prices.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import Field, dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeAlias

from dataplane.core.money.windows import WindowKind, WindowRule
from dataplane.core.secret import Secret
from dataplane.core.waits import Wait


class Row(Protocol):
    """What all rows have in common: they are dataclasses with these two."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def id(self) -> str: ...

    @property
    def revision(self) -> int: ...


Ref: TypeAlias = tuple[type[Row], str]


class KeyState(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"
    REVOKED = "revoked"


class ProviderKind(StrEnum):
    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    GEMINI = "gemini"
    AZURE_OPENAI = "azure_openai"
    OPENAI_COMPATIBLE = "openai_compatible"
    ANTHROPIC_COMPATIBLE = "anthropic_compatible"


class Unpriced(StrEnum):
    """What to do with a model that the price list does not know."""

    REFUSE = "refuse"
    DEAREST_IN_FAMILY = "dearest_in_family"
    FREE = "free"


class ScopeKind(StrEnum):
    """What a budget covers."""

    ORGANIZATION = "organization"
    TEAM = "team"
    PROJECT = "project"
    PRINCIPAL = "principal"
    VIRTUAL_KEY = "virtual_key"
    GROUP = "group"  # one allowance for each member


class OnBreach(StrEnum):
    BLOCK = "block"
    WARN = "warn"


class OutageRule(StrEnum):
    """What a pod does without a lease while the control plane cannot be reached."""

    STRICT = "strict"  # refuse
    STANDARD = "standard"  # spend 5 % of the limit, split over the pods
    OPEN = "open"  # spend


@dataclass(frozen=True, slots=True)
class Organization:
    id: str
    active: bool
    freshness_bound_ms: int  # 0: the pod's default
    cut_on_stale: bool
    contact: str
    price_list_id: str
    revision: int
    cut_on_expiry: bool = False
    cuts: int = 0  # how often its running streams were ended by hand


@dataclass(frozen=True, slots=True)
class Project:
    id: str
    organization_id: str
    team_id: str
    active: bool
    revision: int
    cuts: int = 0


@dataclass(frozen=True, slots=True)
class Principal:
    id: str
    organization_id: str
    active: bool
    revision: int
    group_ids: tuple[str, ...] = ()
    cuts: int = 0


@dataclass(frozen=True, slots=True)
class KeySecret:
    public_id: str
    pepper_version: int
    digest: bytes
    not_after_ms: int  # 0: as long as the key


@dataclass(frozen=True, slots=True)
class VirtualKey:
    id: str
    public_id: str
    state: KeyState
    secrets: tuple[KeySecret, ...]  # newest first
    expires_at_ms: int  # 0: never
    organization_id: str
    team_id: str
    project_id: str
    principal_id: str
    models_allowed: tuple[str, ...]  # empty: all
    providers_allowed: tuple[str, ...]  # empty: all of the organization's
    tags: tuple[str, ...]
    cut: bool
    revision: int
    cuts: int = 0


@dataclass(frozen=True, slots=True)
class Provider:
    id: str
    organization_id: str
    name: str
    kind: ProviderKind
    base_url: str
    credential: Secret
    enabled: bool
    priority: int
    models: tuple[str, ...]
    api_version: str
    deployments: tuple[tuple[str, str], ...]
    unpriced: Unpriced
    private_network: bool
    price_provider: str
    revision: int
    account_headers: tuple[tuple[str, str], ...] = ()  # sorted; which account there is meant
    cuts: int = 0
    waits: tuple[Wait, ...] = ()  # how long it may take, where that is not as the pod says: the first that matches
    no_stream_options: bool = False  # it refuses them: chat streams are not asked for usage unless the client did


@dataclass(frozen=True, slots=True)
class ModelAlias:
    id: str
    organization_id: str
    project_id: str
    key_id: str
    alias: str
    provider_id: str
    model: str
    revision: int


@dataclass(frozen=True, slots=True)
class Override:
    """A higher limit for a while. It ends by itself: the limit is computed from time."""

    extra_nano: int
    until_ms: int  # exclusive; 0: for ever


@dataclass(frozen=True, slots=True)
class Budget:
    id: str
    organization_id: str
    name: str
    scope_kind: ScopeKind
    scope_id: str
    scope_name: str  # for people
    provider_id: str  # "": whichever provider
    model_pattern: str  # glob on `model` or `provider/model`; "": whichever model
    window: WindowKind
    timezone: str
    anchor: int
    resets: int
    limit_nano: int
    overrides: tuple[Override, ...]
    on_breach: OnBreach
    outage: OutageRule
    overdraft_nano: int
    thresholds: tuple[int, ...]  # per cent, ascending
    contact: str  # "": the organization's
    enabled: bool
    revision: int
    lease_epoch: int = 0  # one more with each edit that made it stricter

    @property
    def blocks(self) -> bool:
        return self.on_breach is OnBreach.BLOCK

    @property
    def rule(self) -> WindowRule:
        return WindowRule(self.window, self.timezone, self.anchor, self.resets)


Scope: TypeAlias = tuple[ScopeKind, str]  # kind and id


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """A resource of a newer control plane that this pod cannot read, or could not obey: whom it covers is refused.

    Stands beside the resource's own row, if that can be made: as strict as it can be read.
    """

    id: str  # kind and resource id
    kind: int  # the wire's number
    kind_name: str  # for people
    resource_id: str
    organization_id: str  # "": nobody's, or unknown
    covers: tuple[Scope, ...]  # none: nobody; only requests that would go to it are refused
    everybody: bool
    problem: str  # in words
    revision: int


def public_ids(key: VirtualKey) -> Collection[str]:
    """Every public id that leads to the key, once."""
    first = key.public_id
    for secret in key.secrets:
        if secret.public_id != first:
            return {first, *[secret.public_id for secret in key.secrets]} - {""}
    return (first,) if first else ()
