"""The web process: admin and REST API. Any number of them may serve one address (`uvicorn --workers`)."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

from controlplane.environment import environment
from controlplane.providers import vault
from controlplane.web import metrics_files

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
environment().demand_secrets()
vault.self_test()
if environment().web_metrics_listen:
    metrics_files.share(environment().web_metrics_directory())
django = get_asgi_application()

from controlplane.web.process import bounded  # noqa: E402 - Django's settings are read first

application = bounded(django, environment())
