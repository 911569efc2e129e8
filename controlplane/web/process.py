"""The start of a web process: trusted proxies, short waits for the database, no large body, the page of metrics."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.db import connections

from controlplane.environment import ConfigurationError, Environment, variable_of
from controlplane.web import metrics
from controlplane.web.body_limit import Application, BodyLimit
from controlplane.web.deadline import bound
from controlplane.web.trusted_proxies import TrustedProxies

log = logging.getLogger(__name__)


def bounded(application: Any, environment: Environment) -> Application:
    """The application as it is served. Raises ConfigurationError."""
    bound(
        connections.settings["default"],
        wait_s=environment.database_wait_s,
    )
    for problem in environment.unknown_variables():
        log.warning("unknown_variable %s", problem)
    listen = environment.web_metrics_listen
    if listen:
        try:
            metrics.serve(listen)
        except (OSError, ValueError) as problem:
            raise ConfigurationError(
                f"{variable_of('web_metrics_listen')}: metrics cannot be shown on {listen}: {problem}"
            ) from problem
    limited = BodyLimit(application, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    return TrustedProxies(limited, environment.trusted_networks)
