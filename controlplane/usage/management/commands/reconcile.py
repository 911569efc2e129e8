"""`manage.py reconcile`: what the ledger's scheduled tasks do, once and now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from controlplane.usage import lost, reconcile


class Command(BaseCommand):
    help = "Estimate attempts whose end never came, note when keys were used last, forget what is past its retention."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"attempts estimated: {lost.expire_silent() + lost.estimate_lost()}")
        self.stdout.write(f"keys marked as used: {reconcile.mark_used()}")
        self.stdout.write(f"records forgotten: {reconcile.forget_old()}")
