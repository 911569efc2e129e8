"""The app's registration, and the check that refuses to start without usable secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import connection

from controlplane.environment import ConfigurationError, environment


class ProvidersConfig(AppConfig):
    name = "controlplane.providers"
    label = "providers"

    def ready(self) -> None:
        checks.register(secrets_are_usable)
        checks.register(variables_are_known)
        checks.register(credentials_can_be_opened, checks.Tags.database)


def secrets_are_usable(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Management commands (migrate, serve_fleet, …) stop here; web and worker call `demand_secrets` themselves."""
    from controlplane.providers import vault

    try:
        environment().demand_secrets()
        vault.self_test()
    except (ConfigurationError, vault.CannotUnseal) as error:
        return [checks.Critical(str(error), hint="deploy/reference/settings.md lists them.", id="providers.E001")]
    return []


def variables_are_known(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """A mistyped name would otherwise leave its default in force without a word."""
    return [checks.Warning(problem, id="providers.W001") for problem in environment().unknown_variables()]


def credentials_can_be_opened(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """`migrate` stops before an upgrade with the wrong root keys goes any further."""
    from controlplane.providers.credentials import check_roots
    from controlplane.providers.models import Provider

    if not databases or Provider._meta.db_table not in connection.introspection.table_names():
        return []
    try:
        check_roots()
    except ConfigurationError as error:
        return [
            checks.Critical(
                str(error), hint="Give the root key that they were sealed under, last in the list.", id="providers.E002"
            )
        ]
    return []
