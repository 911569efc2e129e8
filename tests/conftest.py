"""What every test shares: hypothesis without timing assertions, and a PostgreSQL server for whoever asks."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server of the session's own, for tests that start real processes. Skips loudly where there is none."""
    from tests.postgres import NoPostgres, Server

    try:
        server = Server.start()
    except NoPostgres as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"PostgreSQL is missing: {error}")
        pytest.skip(f"PostgreSQL is missing: {error}")
    yield server.url()
    server.stop()
