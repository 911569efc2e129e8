"""`manage.py compile_prices`: what the worker does every minute, now. Installations run it once after `migrate`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from controlplane.changes.actor import Actor
from controlplane.providers.prices import bring_up_to_date


class Command(BaseCommand):
    help = "Compiles the price lists that are missing or stale."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{bring_up_to_date(by=Actor.system('compile_prices'))} price lists changed")
