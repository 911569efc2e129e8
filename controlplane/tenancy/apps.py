"""The app's registration."""

from __future__ import annotations

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    name = "controlplane.tenancy"
    label = "tenancy"

    def ready(self) -> None:
        from controlplane.tenancy import api_schemes  # noqa: F401  # registers how the API's callers are described
