"""Django's registration of the REST layer."""

from __future__ import annotations

from django.apps import AppConfig


class RestConfig(AppConfig):
    name = "controlplane.rest"
    label = "rest"

    def ready(self) -> None:
        from controlplane.rest import schema  # noqa: F401  # registers how the token is described
