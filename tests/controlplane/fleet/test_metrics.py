"""What a fleet server shows of itself."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from controlplane.budgets.alarms import raise_alarm
from controlplane.environment import ConfigurationError
from controlplane.fleet.calls.booking import Booking
from controlplane.fleet.calls.server import running
from controlplane.fleet.register import metrics
from controlplane.keys import actions
from protos import fleet_pb2 as wire
from tests.contract.house import free_port
from tests.controlplane import factories as make
from tests.controlplane.fleet.pods import PATIENCE_S, do, no_ledger, pod

pytestmark = pytest.mark.django_db(transaction=True)
BOOKING = Booking(no_ledger, lambda session, holds: ())


async def get(port: int, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return await client.get(f"http://127.0.0.1:{port}{path}")


def value(page: str, sample: str) -> float:
    return next(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(f"{sample} "))


def test_pods_records_and_how_long_a_revocation_took() -> None:
    async def scenario() -> None:
        key = await do(make.key)
        port = free_port()
        async with (
            running("127.0.0.1:0", None, BOOKING, metrics_listen=f"127.0.0.1:{port}") as server,
            pod(server.port) as one,
        ):
            assert (await get(port, "/healthz")).status_code == 200
            assert (await get(port, "/elsewhere")).status_code == 404
            await one.connect()
            await one.until(server.replica.catalogue.revision)
            await one.beat(1)
            assert value((await get(port, "/metrics")).text, "aigateway_revocation_convergence_seconds_count") == 0
            await do(actions.revoke, key, by=make.SYSTEM)
            server.replica.wake()
            while one.revision < server.replica.catalogue.revision or one.updates[-1].full:
                await one.step()
            report = one.stub.Report()
            await report.write(
                wire.UsageBatch(pod_id="pod-1", session_id="s", first_seq=1, records=[wire.UsageRecord()] * 3)
            )
            await report.read()
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    page = (await get(port, "/metrics")).text
                    if value(page, "aigateway_config_apply_lag_seconds_count"):
                        break
            assert value(page, 'aigateway_fleet_pods{state="ready"}') == 1
            assert value(page, "aigateway_fleet_watches") == 1
            assert value(page, "aigateway_fleet_records_booked_total") == 3
            assert value(page, "aigateway_revocation_convergence_seconds_count") == 1

    asyncio.run(scenario())


def test_metrics_are_for_the_loopback_only() -> None:
    async def scenario() -> None:
        async with running("127.0.0.1:0", None, BOOKING, metrics_listen="0.0.0.0:1"):
            pass

    with pytest.raises(ConfigurationError, match="loopback"):
        asyncio.run(scenario())


def test_the_table_names_every_metric_as_it_is_shown() -> None:
    shown = metrics.Metrics().page({"ready": 1}).decode()
    named = [line.split("`")[1] for line in metrics.render_table().splitlines()[2:]]
    assert len(named) == 9
    assert all(f"# TYPE {name} " in shown for name in named)


def test_books_that_do_not_add_up_are_counted() -> None:
    async def scenario() -> None:
        port = free_port()
        async with running("127.0.0.1:0", None, BOOKING, metrics_listen=f"127.0.0.1:{port}"):
            await do(raise_alarm, "account 1: held 5, its leases 0")
            page = (await get(port, "/metrics")).text
        assert value(page, "aigateway_fleet_budget_alarms_total") == 1

    asyncio.run(scenario())
