"""A provider's credential: set, read for the wire, re-wrapped. The only callers of the vault."""

from __future__ import annotations

from controlplane.environment import ConfigurationError, environment
from controlplane.providers import vault
from controlplane.providers.models import Provider
from dataplane.core.secret import Secret

TRIED = 3  # credentials per root key, at the start: one that was altered does not stop it
COLUMNS = (
    *("credential_sealed", "credential_root_version", "credential_version", "credential_last4"),
    "credential_fingerprint",
)


def _place(provider: Provider) -> vault.SealedPlace:
    return vault.SealedPlace(
        "provider", f"{provider.organization_id}/{provider.pk}", "credential", provider.credential_version
    )


def _sealed(provider: Provider) -> vault.Sealed:
    return vault.Sealed(bytes(provider.credential_sealed), provider.credential_root_version)


def put(provider: Provider, credential: Secret) -> None:
    """Seal a new credential into the row, which the caller saves."""
    provider.credential_version += 1
    sealed = vault.seal(credential, _place(provider))
    provider.credential_sealed, provider.credential_root_version = sealed.value, sealed.root_version
    provider.credential_last4 = vault.last4(credential)
    provider.credential_fingerprint = vault.fingerprint(credential, provider.organization_id)


def credential_of(provider: Provider) -> Secret:
    """For the fleet's wire and for the probe. Raises CannotUnseal."""
    return vault.unseal(_sealed(provider), _place(provider))


def rewrap(provider: Provider) -> None:
    """Bring the row under the newest root key; the caller saves it."""
    fresh = vault.rewrap(_sealed(provider), _place(provider))
    provider.credential_sealed, provider.credential_root_version = fresh.value, fresh.root_version


def check_roots() -> None:
    """Raise ConfigurationError when credentials need a root key that the environment has not, or has another of."""
    needed = set(Provider.objects.values_list("credential_root_version", flat=True).distinct())
    missing = sorted(needed - set(environment().root_keyring()))
    if missing:
        versions = ", ".join(map(str, missing))
        raise ConfigurationError(
            f"AIGATEWAY_ROOT_KEYS: credentials are sealed under version {versions}, which is not given"
        )
    for version in sorted(needed):
        # Only these columns: before a migration the table may lack others.
        rows = Provider.objects.filter(credential_root_version=version).only("organization_id", *COLUMNS)
        if vault.opens_none((_sealed(row), _place(row)) for row in rows.order_by("-pk")[:TRIED]):
            raise ConfigurationError(
                f"AIGATEWAY_ROOT_KEYS: the root key given as version {version} is not the one that credentials are "
                "sealed under"
            )
