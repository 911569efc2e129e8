"""What a budget may say. Normalises what people type, refuses what pods could not use, and says what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils import timezone

from controlplane.budgets.models import LARGEST_LIMIT_NANO, Budget, ScopeKind
from controlplane.keys.models import VirtualKey
from controlplane.tenancy.models import Group, Organization, Principal, Project, Team
from dataplane.core.money.windows import ANCHORS, WindowKind, known_zone

MOST_THRESHOLDS = 10
HIGHEST_THRESHOLD = 1000  # per cent: warn budgets go on
_PATTERN = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")
SCOPES: dict[str, type[Model]] = {
    ScopeKind.ORGANIZATION: Organization,
    ScopeKind.TEAM: Team,
    ScopeKind.PROJECT: Project,
    ScopeKind.PRINCIPAL: Principal,
    ScopeKind.VIRTUAL_KEY: VirtualKey,
    ScopeKind.GROUP: Group,
}


def scope_of(organization_id: str, kind: str, scope_id: str) -> Model:
    """The row that a budget is to cover. Raises ValidationError; somebody else's does not exist."""
    model = SCOPES.get(kind)
    if model is None:
        raise ValidationError({"scope_kind": f"must be one of: {', '.join(ScopeKind.values)}"})
    row: Model | None = model._default_manager.filter(pk=scope_id).first()
    owner = getattr(row, "organization_id", None) if kind != ScopeKind.ORGANIZATION else getattr(row, "pk", None)
    if row is None or owner != organization_id:
        raise ValidationError({"scope_id": f"there is no such {ScopeKind(kind).value.replace('_', ' ')} here"})
    return row


def team_of(kind: str, scope: Model) -> str:
    """The team that a scope is, or is in; empty: it is not inside of one."""
    match scope:
        case Team():
            return scope.pk
        case Project():
            return scope.team_id
        case VirtualKey():
            return scope.project.team_id
    return ""


def money(value: object, field: str, *, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LARGEST_LIMIT_NANO:
        most = LARGEST_LIMIT_NANO // 10**9
        raise ValidationError({field: f"is an amount of {'more than 0' if least else '0'} to {most:,} dollars"})
    return value


def thresholds(values: Iterable[object]) -> list[int]:
    """Ascending, without repetition."""
    kept: set[int] = set()
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= HIGHEST_THRESHOLD:
            raise ValidationError({"thresholds": f"Thresholds are whole per cents from 1 to {HIGHEST_THRESHOLD}."})
        kept.add(value)
    if len(kept) > MOST_THRESHOLDS:
        raise ValidationError({"thresholds": f"There are {len(kept)} thresholds; at most {MOST_THRESHOLDS} are kept."})
    return sorted(kept)


def until(moment: datetime | None) -> datetime | None:
    if moment is not None and timezone.is_naive(moment):
        raise ValidationError({"until": "needs a time zone"})
    if moment is not None and moment <= timezone.now():
        raise ValidationError({"until": "must lie in the future"})
    return moment


def check(row: Budget) -> None:
    """Raises ValidationError. The scope and the amounts are checked where they are set."""
    if row.provider is not None and row.provider.organization_id != row.organization_id:
        raise ValidationError({"provider": "must be a provider of the organization"})
    row.model_pattern = row.model_pattern.strip()
    if row.model_pattern and _PATTERN.fullmatch(row.model_pattern) is None:
        raise ValidationError(
            {"model_pattern": "is a model name, with * where anything may stand, up to 200 letters and no blanks"}
        )
    if not known_zone(row.timezone):
        raise ValidationError({"timezone": "is an IANA name such as Europe/Berlin or UTC"})
    row.full_clean()
    lowest, highest, _ = ANCHORS.get(WindowKind(row.window), (0, 0, 0))
    if row.anchor and not lowest <= row.anchor <= highest:
        words = f"is 0 or from {lowest} to {highest}" if highest else "is 0: these windows have no anchor"
        raise ValidationError({"anchor": f"of a window of a {row.window} {words}"})
