"""`manage.py rotate_root`: after a new root key was put first in AIGATEWAY_ROOT_KEYS, everything sealed follows."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from controlplane.alerts.channel_actions import rewrap_secrets
from controlplane.changes.actor import Actor
from controlplane.environment import environment
from controlplane.providers.actions import rewrap_credentials


class Command(BaseCommand):
    help = "Re-wraps what is sealed under the newest root key; afterwards the older keys may be taken away."

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor.system("rotate_root")
        credentials, secrets = rewrap_credentials(by=actor), rewrap_secrets(by=actor)
        version = next(iter(environment().root_keyring()))
        self.stdout.write(f"{credentials} credentials are now under version {version}")
        self.stdout.write(f"{secrets} secrets of alert channels are now under version {version}")
