"""A channel's secret: set, read to send, re-wrapped. The only callers of the vault here."""

from __future__ import annotations

from controlplane.alerts.models import Channel
from controlplane.environment import ConfigurationError, environment
from controlplane.providers import vault
from dataplane.core.secret import Secret

NONE = Secret(b"")
TRIED = 3  # secrets per root key, at the start: one that was altered does not stop it
COLUMNS = ("organization_id", "secret_sealed", "secret_root_version", "secret_version")


def _place(channel: Channel) -> vault.SealedPlace:
    return vault.SealedPlace(
        "alert_channel", f"{channel.organization_id}/{channel.pk}", "secret", channel.secret_version
    )


def put(channel: Channel, secret: Secret) -> None:
    """Seal a new secret into the row, which the caller saves."""
    channel.secret_version += 1
    sealed = vault.seal(secret, _place(channel))
    channel.secret_sealed, channel.secret_root_version = sealed.value, sealed.root_version
    channel.secret_last4 = vault.last4(secret)


def secret_of(channel: Channel) -> Secret:
    """Empty for a channel that needs none. Raises CannotUnseal."""
    if channel.secret_sealed is None:
        return NONE
    return vault.unseal(vault.Sealed(bytes(channel.secret_sealed), channel.secret_root_version), _place(channel))


def rewrap(channel: Channel) -> None:
    """Bring the row under the newest root key; the caller saves it."""
    fresh = vault.rewrap(
        vault.Sealed(bytes(channel.secret_sealed or b""), channel.secret_root_version), _place(channel)
    )
    channel.secret_sealed, channel.secret_root_version = fresh.value, fresh.root_version


def check_roots() -> None:
    """Raise ConfigurationError when secrets need a root key that the environment has not, or has another of."""
    sealed = Channel.objects.exclude(secret_sealed=None)
    needed = set(sealed.values_list("secret_root_version", flat=True).distinct())
    missing = sorted(needed - set(environment().root_keyring()))
    if missing:
        versions = ", ".join(map(str, missing))
        raise ConfigurationError(
            f"AIGATEWAY_ROOT_KEYS: alert channels are sealed under version {versions}, which is not given"
        )
    for version in sorted(needed):
        rows = sealed.filter(secret_root_version=version).only(*COLUMNS).order_by("-pk")[:TRIED]
        stored = ((vault.Sealed(bytes(row.secret_sealed or b""), version), _place(row)) for row in rows)
        if vault.opens_none(stored):
            raise ConfigurationError(
                f"AIGATEWAY_ROOT_KEYS: the root key given as version {version} is not the one that alert channels are "
                "sealed under"
            )
