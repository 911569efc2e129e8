"""What a key may say. Normalises what people type, refuses what pods could not use, and says what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from django.core.exceptions import ValidationError
from django.utils import timezone

from controlplane.keys.models import OwnerScope, VirtualKey
from controlplane.providers.models import Provider

MOST_TAGS = 32
LONGEST_TAG = 128  # characters
MOST_PATTERNS = 200
LONGEST_PATTERN = 200  # characters
MOST_METADATA = 32
LONGEST_METADATA = 500  # characters of a name or value
_PATTERN = re.compile(r"[^\s\x00-\x1f\x7f]+")


def tags(entries: Iterable[str]) -> list[str]:
    """Trimmed, without repetition, in the order given."""
    cleaned = list(dict.fromkeys(tag.strip() for tag in entries if tag.strip()))
    if len(cleaned) > MOST_TAGS:
        raise ValidationError({"tags": f"There are {len(cleaned)} tags; at most {MOST_TAGS} are kept."})
    for tag in cleaned:
        if len(tag) > LONGEST_TAG or not tag.isprintable():
            raise ValidationError(
                {"tags": f"“{tag[:40]}” is no tag: that is printable text of at most {LONGEST_TAG} characters."}
            )
    return cleaned


def patterns(entries: Iterable[str], field: str) -> list[str]:
    """Model patterns: `*` stands for any run of characters, everything else for itself."""
    cleaned = list(dict.fromkeys(pattern.strip() for pattern in entries if pattern.strip()))
    if len(cleaned) > MOST_PATTERNS:
        raise ValidationError({field: f"There are {len(cleaned)} patterns; at most {MOST_PATTERNS} are kept."})
    for pattern in cleaned:
        if len(pattern) > LONGEST_PATTERN or _PATTERN.fullmatch(pattern) is None:
            raise ValidationError(
                {
                    field: f"“{pattern[:40]}” is none: a pattern is a model name, with * where anything may stand, "
                    f"up to {LONGEST_PATTERN} letters."
                }
            )
    return cleaned


def metadata(entries: Mapping[str, str]) -> dict[str, str]:
    if len(entries) > MOST_METADATA:
        raise ValidationError({"metadata": f"There are {len(entries)} entries; at most {MOST_METADATA} are kept."})
    for name, value in entries.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ValidationError({"metadata": "Metadata maps text to text."})
        if not name or "\0" in name + value or len(name) > LONGEST_METADATA or len(value) > LONGEST_METADATA:
            raise ValidationError({"metadata": f"Names and values are text of 1 to {LONGEST_METADATA} characters."})
    return dict(entries)


def providers(ids: Iterable[str], organization_id: str) -> list[str]:
    """Ids of the organization's own providers; somebody else's do not exist."""
    wanted = list(dict.fromkeys(ids))
    own = dict(Provider.objects.filter(organization_id=organization_id).values_list("pk", "name"))
    unknown = [provider for provider in wanted if provider not in own]
    if unknown:
        there_is = ", ".join(f"{name} ({provider})" for provider, name in sorted(own.items())) or "none yet"
        raise ValidationError({"providers_allowed": f"no such provider: {', '.join(unknown)}; there is: {there_is}"})
    return wanted


def expiry(at: datetime | None) -> datetime | None:
    if at is not None and timezone.is_naive(at):
        raise ValidationError({"expires_at": "needs a time zone"})
    if at is not None and at <= timezone.now():
        raise ValidationError({"expires_at": "must lie in the future; to stop a key now, disable or revoke it"})
    return at


def tree(key: VirtualKey) -> None:
    """The key's project, team, and principal are of one organization, and fit the level that owns the key."""
    problems: dict[str, str] = {}
    if key.project.organization_id != key.organization_id:
        problems["project"] = "must be a project of the key's organization"
    if key.principal is not None and key.principal.organization_id != key.organization_id:
        problems["principal"] = "must be a principal of the key's organization"
    if key.owner_scope == OwnerScope.ORGANIZATION and key.team_id is not None:
        problems["team"] = "an organization's key belongs to no team"
    if key.owner_scope != OwnerScope.ORGANIZATION and key.team_id != key.project.team_id:
        problems["team"] = "must be the team of the project that its usage is booked to"
    if problems:
        raise ValidationError(problems)
