"""`manage.py serve_fleet` as a process: it says when it is ready, says goodbye when told to stop, and may be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from controlplane.changes.models import Revision
from controlplane.environment import REPOSITORY, Environment
from controlplane.fleet.calls import booking
from controlplane.fleet.management.commands import serve_fleet
from controlplane.tenancy import actions as tenancy
from controlplane.usage.models import UsageRecord
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM
from tests.controlplane.fleet.pods import PATIENCE_S, do, pod
from tests.controlplane.usage.records import batch, record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


def database_url() -> str:
    """The tests' database, for another process."""
    given = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{given['NAME']}"
    login = f"{quote(given['USER'])}:{quote(given['PASSWORD'])}"
    return f"postgresql://{login}@/{given['NAME']}?host={quote(given['HOST'], safe='')}&port={given['PORT'] or 5432}"


class Server:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0

    async def says(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(3 * PATIENCE_S):
            line = await self.process.stdout.readline()
        assert line, "it ended without a word"
        said: dict[str, Any] = json.loads(line)
        return said

    async def end(self, how: signal.Signals) -> int:
        if self.process.returncode is None:
            self.process.send_signal(how)
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()


@asynccontextmanager
async def serving(listen: str = "127.0.0.1:0", **environment: str) -> AsyncIterator[Server]:
    variables = os.environ | {"DATABASE_URL": database_url(), "AIGATEWAY_FLEET_INSECURE": "true"} | environment
    server = Server(
        await asyncio.create_subprocess_exec(
            sys.executable,
            "manage.py",
            "serve_fleet",
            "--listen",
            listen,
            cwd=REPOSITORY,
            env=variables,
            stdout=asyncio.subprocess.PIPE,
        )
    )
    try:
        ready = await server.says()
        assert ready["event"] == "fleet_listening"
        assert ready["pid"] == server.process.pid
        server.port = int(ready["listen"].rpartition(":")[2])
        yield server
    finally:
        await server.end(signal.SIGKILL)


def test_it_serves_says_goodbye_and_ends_cleanly() -> None:
    async def scenario() -> None:
        await do(factories.key)
        async with serving() as server, pod(server.port) as one:
            await one.connect()
            await one.until(await do(lambda: Revision.objects.get().value))
            server.process.send_signal(signal.SIGTERM)
            while await one.step() != "goodbye":
                pass
            assert [(await server.says())["event"] for _ in range(2)] == ["fleet_stopping", "fleet_stopped"]
            async with asyncio.timeout(PATIENCE_S):
                assert await server.process.wait() == 0

    asyncio.run(scenario())


def test_killed_at_any_moment_it_loses_nothing_that_was_acknowledged() -> None:
    async def scenario() -> None:
        organization = await do(factories.organization)
        async with serving() as first, pod(first.port) as one:
            await one.connect()
            await one.until(await do(lambda: Revision.objects.get().value))
            report = one.stub.Report()
            acknowledged = 0
            for number in range(1, 30):
                await report.write(batch(record(f"req_{number}"), first=number))
                if number == 15:
                    await first.end(signal.SIGKILL)
                    break
                acknowledged = (await report.read()).through_seq
            await do(tenancy.update_organization, organization, by=SYSTEM, contact="meanwhile")
            held = (dict(one.held), one.epoch, one.revision)
            async with serving(f"127.0.0.1:{first.port}") as again, pod(again.port) as two:
                two.held, two.epoch, two.revision = held
                await two.connect()
                await two.until(await do(lambda: Revision.objects.get().value))
                assert two.get("organization", organization.pk).contact == "meanwhile"
                report = two.stub.Report()
                rest = [record(f"req_{number}") for number in range(acknowledged + 1, 31)]
                await report.write(batch(*rest, first=acknowledged + 1))
                async with asyncio.timeout(PATIENCE_S):
                    assert (await report.read()).through_seq == 30
                report.cancel()
        assert acknowledged == 14
        assert await do(UsageRecord.objects.filter(state="final").count) == 30
        assert await do(UsageRecord.objects.count) == 30

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "AIGATEWAY_FLEET_CA, AIGATEWAY_FLEET_CERT, AIGATEWAY_FLEET_KEY"),
        ({"CA": "/nowhere"}, "set AIGATEWAY_FLEET_CERT, AIGATEWAY_FLEET_KEY"),
        ({"CA": "/nowhere", "INSECURE": "true"}, "set AIGATEWAY_FLEET_CERT, AIGATEWAY_FLEET_KEY"),
        ({"CA": "/no/a", "CERT": "/no/b", "KEY": "/no/c"}, "cannot be read"),
    ],
    ids=["no TLS", "half of it", "half of it beside none", "files that are not there"],
)
def test_it_refuses_to_start_half_configured(
    given: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"AIGATEWAY_FLEET_{name}", value)
    monkeypatch.setattr(serve_fleet, "environment", Environment)
    with pytest.raises(CommandError, match=words):
        call_command("serve_fleet")


def test_it_refuses_to_start_where_nobody_would_book_what_pods_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIGATEWAY_FLEET_INSECURE", "true")
    monkeypatch.setattr(serve_fleet, "environment", Environment)
    monkeypatch.setattr(booking, "_registered", [])
    with pytest.raises(CommandError, match="no app has registered what books"):
        call_command("serve_fleet")
