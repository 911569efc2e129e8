"""An organization whose alerts go to receivers on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controlplane.connections import mail_settings
from controlplane.environment import environment
from controlplane.tenancy.models import Organization
from tests.controlplane import factories as make
from tests.controlplane.alerts.sinks import MailSink, Sink, serving


@pytest.fixture
def organization(db: None) -> Organization:
    return make.organization()


@pytest.fixture
def private_allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_WEBHOOKS", "true")
    environment.cache_clear()
    yield
    monkeypatch.undo()
    environment.cache_clear()


@pytest.fixture
def sink(private_allowed: None) -> Iterator[Sink]:
    with serving(Sink()) as server:
        yield server


@pytest.fixture
def mail(settings) -> Iterator[MailSink]:
    """A mail server, set as the operator sets it."""
    with serving(MailSink()) as server:
        for name, value in mail_settings(server.url).items():
            setattr(settings, name, value)
        yield server
