"""Verbs on providers: permission, validation, mutation and audit in one transaction.

Each takes `by`, the actor, and raises Forbidden, NoSuchObject or django's ValidationError (field → what is right).
Providers are disabled, not deleted: usage, keys and aliases name them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from controlplane.celery import wake
from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.environment import environment
from controlplane.providers import credentials, ssrf, waits
from controlplane.providers.account_headers import checked_account_headers
from controlplane.providers.kinds import KINDS
from controlplane.providers.kinds.kind import MODEL_NAME, MOST_MODELS
from controlplane.providers.models import Provider
from controlplane.providers.probe import ProbeOutcome, probe
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Verb, require
from controlplane.tenancy.scope import Place
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind, Unpriced

CHANGEABLE = frozenset(
    {
        *("name", "base_url", "enabled", "priority", "models", "unpriced", "price_provider", "account_headers"),
        *("first_byte_s", "idle_s", "model_waits", "no_stream_options"),
        *(name for kind in KINDS.values() for name in kind.own.names),
    }
)
SHORTEST_CREDENTIAL, LONGEST_CREDENTIAL = 1, 4096  # bytes


def create_provider(
    *,
    by: Actor,
    organization: Organization,
    name: str,
    kind: ProviderKind,
    credential: Secret,
    base_url: str = "",
    enabled: bool = True,
    priority: int = 100,
    models: Iterable[str] = (),
    api_version: str = "",
    deployments: Mapping[str, str] | None = None,
    unpriced: Unpriced = Unpriced.DEAREST_IN_FAMILY,
    price_provider: str = "",
    account_headers: Mapping[str, str] | None = None,
    first_byte_s: int | None = None,
    idle_s: int | None = None,
    model_waits: Sequence[Mapping[str, Any]] = (),
    no_stream_options: bool = False,
) -> Provider:
    """`base_url` empty: the kind's own. `model_waits`: {models, first_byte_s, idle_s}, each.

    The credential is sealed and cannot be read again.
    """
    require(by, Verb.PROVIDER_CHANGE, Place(organization.pk))
    row = Provider(organization=organization, kind=ProviderKind(kind).value)
    _fill(
        row,
        {
            "name": name,
            "base_url": base_url or KINDS[ProviderKind(kind)].base_url,
            "enabled": enabled,
            "priority": priority,
            "models": models,
            "api_version": api_version,
            "deployments": deployments or {},
            "unpriced": unpriced,
            "price_provider": price_provider,
            "account_headers": account_headers or {},
            "first_byte_s": first_byte_s,
            "idle_s": idle_s,
            "model_waits": list(model_waits),
            "no_stream_options": no_stream_options,
        },
    )
    _put(row, credential)
    with change_set(by) as change:
        row.full_clean()
        row.save(force_insert=True)
        change.say("provider.created", row)
    transaction.on_commit(lambda: wake("providers.compile_price_lists"))
    return row


def update_provider(
    provider: Provider, *, by: Actor, credential: Secret | None = None, cut: bool = False, **fields: Any
) -> Provider:
    """Fields: see CHANGEABLE. The kind stays what it was: what was booked under it depends on it. `cut`: answers that
    it gives now end too, within a second.

    Another host or port takes a credential along: who may change an address must not learn the stored one by it.
    """
    unknown = sorted(set(fields) - CHANGEABLE)
    if unknown:
        raise ValidationError({name: f"cannot be set; fields are {', '.join(sorted(CHANGEABLE))}" for name in unknown})
    require(by, Verb.PROVIDER_CHANGE, provider)
    columns = [*fields, *(() if credential is None else credentials.COLUMNS)]
    if not columns and not cut:
        return provider
    with change_set(by) as change:
        provider.refresh_from_db()
        before = provider.base_url
        _fill(provider, fields)
        if credential is not None:
            _put(provider, credential)
            columns += provider.mended(timezone.now())
        elif _origin(provider.base_url) != _origin(before):
            raise ValidationError(
                {"credential": f"the stored one is for {before}; enter the credential of the new address with it"}
            )
        provider.full_clean()
        if cut:
            columns += provider.cut_running()
        provider.save(update_fields=[*columns, "updated_at"])
        if fields or cut:
            change.say("provider.updated", provider)
        if credential is not None:
            change.say("provider.credential_replaced", provider)
    return provider


def set_credential(provider: Provider, *, by: Actor, credential: Secret) -> Provider:
    """Replace the credential; the old one is gone."""
    return update_provider(provider, by=by, credential=credential)


def test_provider(provider: Provider, *, by: Actor) -> ProbeOutcome:
    """Call the provider now, and keep what came of it."""
    require(by, Verb.PROVIDER_TEST, provider)
    outcome = probe(provider)
    provider.last_test_at = timezone.now()
    provider.last_test_ok = outcome.ok
    provider.last_test_message = outcome.message[:500]
    provider.last_test_ms = outcome.elapsed_ms
    mended = provider.mended(provider.last_test_at) if outcome.ok else ()
    provider.save(update_fields=["last_test_at", "last_test_ok", "last_test_message", "last_test_ms", *mended])
    with change_set(by) as change:
        change.say("provider.tested", provider, ok=outcome.ok, message=outcome.message)
    return outcome


def rewrap_credentials(*, by: Actor) -> int:
    """Bring every credential under the newest root key. How many were not."""
    newest = next(iter(environment().root_keyring()))
    with change_set(by) as change:
        rows = list(Provider.objects.exclude(credential_root_version=newest))
        for row in rows:
            credentials.rewrap(row)
            row.save(update_fields=["credential_sealed", "credential_root_version", "updated_at"])
            change.say("provider.credential_rewrapped", row, root_version=newest)
    return len(rows)


def has_credential(provider: Provider, credential: Secret) -> bool:
    """Whether this is the stored credential."""
    return credentials.credential_of(provider) == credential


def _put(row: Provider, credential: Secret) -> None:
    """Raises ValidationError. Nothing that admins are shown may hold it."""
    checked = _credential(credential)
    if any(checked == Secret(value) for value in row.account_headers.values()):
        raise ValidationError({"account_headers": "one of them is the credential itself; it names an account"})
    credentials.put(row, checked)


def _fill(row: Provider, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        setattr(row, name, _CLEAN[name](value) if name in _CLEAN else value)
    kind = KINDS[ProviderKind(row.kind)]
    row.account_headers = checked_account_headers(row.account_headers, kind)
    own = kind.own
    own.check(row)
    for other in KINDS.values():
        if any(getattr(row, name) for name in other.own.names if name not in own.names):
            raise ValidationError(dict(other.own.elsewhere))


def _origin(base_url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(base_url)
    return parts.scheme, parts.hostname, parts.port


def _base_url(text: str) -> str:
    try:
        return str(ssrf.parse(text, private_allowed=environment().allow_private_providers))
    except ssrf.UnsafeUrl as error:
        raise ValidationError({"base_url": str(error)}) from error


def _models(names: Iterable[str]) -> list[str]:
    cleaned = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if len(cleaned) > MOST_MODELS or any(MODEL_NAME.fullmatch(model) is None for model in cleaned):
        raise ValidationError(
            {"models": f"at most {MOST_MODELS} model names, with * where anything may stand, without blanks"}
        )
    return cleaned


def _credential(credential: Secret) -> Secret:
    """As it goes into a header: visible ASCII, without the blanks that copying adds."""
    value = credential.reveal().strip()
    if not SHORTEST_CREDENTIAL <= len(value) <= LONGEST_CREDENTIAL or not all(0x21 <= byte <= 0x7E for byte in value):
        raise ValidationError({"credential": f"is 1 to {LONGEST_CREDENTIAL} visible ASCII characters without blanks"})
    if value.startswith((b"lw_vk_", b"lw_at_")):
        raise ValidationError({"credential": "is one of this gateway's own keys; enter the provider's"})
    return Secret(value)


_CLEAN: Mapping[str, Callable[[Any], Any]] = {
    "base_url": _base_url,
    "models": _models,
    "first_byte_s": waits.checked_first_byte,
    "idle_s": waits.checked_idle,
    "model_waits": waits.checked_model_waits,
    **{name: clean for kind in KINDS.values() for name, clean in kind.own.clean.items()},
}
