"""One browser for all of these tests; none on this machine is a loud skip, in CI a failure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from selenium.webdriver import Chrome

from controlplane.environment import environment
from controlplane.tenancy.actions import grant_role
from controlplane.tenancy.models import Role
from tests.browser.chromium import NoBrowser, chromium, complaints
from tests.browser.person import Person
from tests.controlplane import factories as make
from tests.controlplane.console.world import World, busy_world
from tests.missing import is_missing


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    opened = chromium()
    try:
        chrome = opened.__enter__()
    except NoBrowser as missing:
        is_missing(f"no browser: {missing}")
    yield chrome
    opened.__exit__(None, None, None)


@pytest.fixture
def chrome(browser: Chrome) -> Iterator[Chrome]:
    """The browser without cookies, whose console must stay empty: a policy violation or script error fails the test."""
    browser.delete_all_cookies()
    complaints(browser)
    yield browser
    assert complaints(browser) == []


@pytest.fixture
def ada(chrome: Chrome, live_server: Any) -> Person:
    """An operator who has logged in."""
    get_user_model().objects.create_superuser("ada", "ada@example.com", "correct horse battery")
    person = Person(chrome, live_server.url)
    person.log_in("ada", "correct horse battery")
    return person


@pytest.fixture
def private_providers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The operator lets providers live on this machine."""
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_PROVIDERS", "true")
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_WEBHOOKS", "true")
    environment.cache_clear()
    yield
    environment.cache_clear()


@pytest.fixture
def there(private_providers: None) -> World:
    """A world whose providers and channels answer nobody, and somebody whose role can be taken away."""
    made = busy_world(provider_url="http://127.0.0.1:9", channel_url="http://127.0.0.1:9/")
    zoe = make.user(username="zoe", is_staff=False)
    grant_role(by=make.SYSTEM, user=zoe, organization=made.own.organization, role=Role.MEMBER, team=made.own.team)
    return made
