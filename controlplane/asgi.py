"""The web process: admin and REST API."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

from controlplane.environment import environment
from controlplane.providers import vault

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
environment().demand_secrets()
vault.self_test()
application = get_asgi_application()
