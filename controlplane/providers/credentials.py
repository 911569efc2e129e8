"""A provider's credential: set, read for the wire, re-wrapped. The only callers of the vault."""

from __future__ import annotations

from controlplane.environment import ConfigurationError, environment
from controlplane.providers import vault
from controlplane.providers.models import Provider
from dataplane.core.secret import Secret

COLUMNS = (
    *("credential_sealed", "credential_root_version", "credential_version", "credential_last4"),
    "credential_fingerprint",
)


def _place(provider: Provider) -> vault.Place:
    return vault.Place(
        "provider", f"{provider.organization_id}/{provider.pk}", "credential", provider.credential_version
    )


def put(provider: Provider, credential: Secret) -> None:
    """Seal a new credential into the row, which the caller saves."""
    provider.credential_version += 1
    sealed = vault.seal(credential, _place(provider))
    provider.credential_sealed, provider.credential_root_version = sealed.value, sealed.root_version
    provider.credential_last4 = vault.last4(credential)
    provider.credential_fingerprint = vault.fingerprint(credential, provider.organization_id)


def credential_of(provider: Provider) -> Secret:
    """For the fleet's wire and for the probe. Raises CannotUnseal."""
    sealed = vault.Sealed(bytes(provider.credential_sealed), provider.credential_root_version)
    return vault.unseal(sealed, _place(provider))


def rewrap(provider: Provider) -> None:
    """Bring the row under the newest root key; the caller saves it."""
    sealed = vault.Sealed(bytes(provider.credential_sealed), provider.credential_root_version)
    fresh = vault.rewrap(sealed, _place(provider))
    provider.credential_sealed, provider.credential_root_version = fresh.value, fresh.root_version


def check_roots() -> None:
    """Raise ConfigurationError when a credential needs a root key that the environment does not have."""
    needed = set(Provider.objects.values_list("credential_root_version", flat=True).distinct())
    missing = sorted(needed - set(environment().root_keyring()))
    if missing:
        versions = ", ".join(map(str, missing))
        raise ConfigurationError(
            f"AIGATEWAY_ROOT_KEYS: credentials are sealed under version {versions}, which is not given"
        )
