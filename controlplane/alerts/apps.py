"""The app's registration, and the check that every channel's secret can be opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from controlplane.celery import wake
from controlplane.environment import ConfigurationError


class AlertsConfig(AppConfig):
    name = "controlplane.alerts"
    label = "alerts"

    def ready(self) -> None:
        from controlplane.budgets.crossings import on_crossing

        _demand_every_channel()
        checks.register(secrets_can_be_opened, checks.Tags.database)
        on_crossing(_sweep_at_once)


def _demand_every_channel() -> None:
    """A program with half a channel does not start."""
    from controlplane.alerts.channels import CHANNELS
    from controlplane.alerts.models import ChannelKind

    half = sorted(set(CHANNELS) ^ set(ChannelKind.values))
    if half:
        raise ImproperlyConfigured(
            f"alert channel {', '.join(half)}: needs a word in ChannelKind (controlplane/alerts/models.py) and a line "
            "in controlplane/alerts/channels/__init__.py"
        )


def _sweep_at_once() -> None:
    """Spending has crossed a threshold: nobody waits for the next sweep of the schedule."""
    wake("alerts.sweep")


def secrets_can_be_opened(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    from controlplane.alerts.models import Channel
    from controlplane.alerts.sealed import check_roots

    if not databases or Channel._meta.db_table not in connection.introspection.table_names():
        return []
    try:
        check_roots()
    except ConfigurationError as error:
        return [
            checks.Critical(
                str(error), hint="Give the root key that they were sealed under, last in the list.", id="alerts.E001"
            )
        ]
    return []
