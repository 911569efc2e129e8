"""Django's registration of the console."""

from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "controlplane.console"
    label = "console"

    def ready(self) -> None:
        from controlplane.console import admin  # noqa: F401  # registers every page with the site
