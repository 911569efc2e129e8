"""Fleet servers that go by different settings are told of, and shown."""

from __future__ import annotations

import asyncio
import logging

import pytest
from django.test import Client
from django.urls import reverse

from controlplane.fleet.models import FleetServer
from controlplane.fleet.register import servers
from controlplane.fleet.register.servers import Presence, differences, living
from tests.controlplane import factories as make
from tests.controlplane.fleet.pods import do, fleet

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def settings_of_one(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """By which the next server that tells goes."""
    chosen = {"AIGATEWAY_ALLOW_PRIVATE_PROVIDERS": "true", "AIGATEWAY_PEPPERS": "versions 2, 1"}
    monkeypatch.setattr(servers, "own_settings", lambda: dict(chosen))
    return chosen


def test_servers_that_differ_say_so_once_and_what_each_has(
    settings_of_one: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        one, other = Presence(5001), Presence(5002)
        await one.tell()
        await one.tell()
        assert await do(lambda: differences(living())) == []
        settings_of_one["AIGATEWAY_ALLOW_PRIVATE_PROVIDERS"] = "false"
        await other.tell()
        await other.tell()
        (sentence,) = await do(lambda: differences(living()))
        assert sentence.startswith("AIGATEWAY_ALLOW_PRIVATE_PROVIDERS is true on ")
        assert "; false on " in sentence
        await other.leave()
        assert await do(lambda: differences(living())) == []

    with caplog.at_level(logging.WARNING):
        asyncio.run(scene())
    assert [record.message.split()[0] for record in caplog.records] == ["fleet_servers_differ"]


def test_no_secret_is_in_what_a_server_says_of_itself() -> None:
    said = servers.own_settings()
    assert said["AIGATEWAY_PEPPERS"].startswith("versions ")
    assert said["AIGATEWAY_ROOT_KEYS"].startswith("versions ")


def test_a_server_is_there_as_long_as_it_runs() -> None:
    async def scene() -> None:
        async with fleet():
            while not await do(FleetServer.objects.exists):
                await asyncio.sleep(0)
        assert not await do(FleetServer.objects.exists)

    asyncio.run(scene())


def test_operators_see_on_the_fleet_page_in_what_the_servers_differ(settings_of_one: dict[str, str]) -> None:
    async def scene() -> None:
        await Presence(5001).tell()
        settings_of_one["AIGATEWAY_PEPPERS"] = "versions 1"
        await Presence(5002).tell()

    asyncio.run(scene())
    operator = Client()
    operator.force_login(make.user(is_superuser=True, is_staff=True))
    text = operator.get(reverse("admin:fleet_pod_changelist")).content.decode()
    assert "go by different settings" in text
    assert "AIGATEWAY_PEPPERS is versions 2, 1 on" in text
