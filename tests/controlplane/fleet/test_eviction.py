"""A pod that is put out: its streams end, its certificate is worth nothing, and another one lets it back in."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from controlplane.changes import queries
from controlplane.changes.actor import Actor, ActorKind
from controlplane.changes.models import AuditEvent
from controlplane.fleet import actions, pki
from controlplane.fleet.calls import serve
from controlplane.fleet.models import Eviction, Pod
from controlplane.tenancy.permissions import Forbidden
from protos import fleet_pb2 as wire
from protos import fleet_pb2_grpc
from tests.controlplane.fleet.pods import PATIENCE_S, do, fleet
from tests.controlplane.fleet.test_pki import Wire, hello

pytestmark = pytest.mark.django_db(transaction=True)

NOW = dt.datetime.now(dt.UTC)
OPERATOR = Actor.system("test")


def known(**fields: Any) -> Pod:
    facts: dict[str, Any] = {"pod_id": "p", "stream_id": "s", "name": "n", "identity": "pod-1", "certificate": "c" * 64}
    return Pod.objects.create(**facts | fields, first_seen_at=timezone.now(), last_heartbeat_at=timezone.now())


async def ended(call: Any) -> tuple[grpc.StatusCode, str]:
    """How; the status comes after whatever was still to be read."""
    async with asyncio.timeout(PATIENCE_S):
        with suppress(grpc.aio.AioRpcError):
            while await call.read() is not grpc.aio.EOF:  # type: ignore[attr-defined]
                pass
        return await call.code(), await call.details()


def test_an_evicted_pod_is_cut_off_and_every_call_with_its_certificate_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "SWEEP_S", 0.02)

    async def scenario() -> None:
        wires = Wire(tmp_path)
        evicted, renewed = (pki.issue_pod(wires.authority, "pod-1", NOW) for _ in range(2))
        other = pki.issue_pod(wires.authority, "pod-2", NOW)
        async with fleet(identity=wires.identity) as server:
            async with wires.channel(server.port, evicted) as channel, wires.channel(server.port, other) as bystander:
                stub, near = fleet_pb2_grpc.FleetStub(channel), fleet_pb2_grpc.FleetStub(bystander)
                watch, untouched, report, hold = stub.Watch(), near.Watch(), stub.Report(), stub.Hold()
                await hold.write(wire.HoldUp(hello=wire.HoldHello(pod_id="p", session_id="leases")))
                await hold.read()
                for call, name in ((watch, "p"), (untouched, "q")):
                    await call.write(wire.PodMessage(hello=wire.Hello(pod_id=name, session_id="s", name="n")))
                    await call.read()
                await report.write(wire.UsageBatch(pod_id="p", session_id="s", first_seq=1))
                await report.read()
                await server.roster.flush()
                await do(actions.evict, await do(Pod.objects.get, pk="p"), by=OPERATOR)
                assert await ended(watch) == (grpc.StatusCode.PERMISSION_DENIED, serve.EVICTED)
                assert await ended(hold) == (grpc.StatusCode.PERMISSION_DENIED, serve.EVICTED)
                await report.write(wire.UsageBatch(pod_id="p", session_id="s", first_seq=1))
                assert (await ended(report))[0] is grpc.StatusCode.PERMISSION_DENIED
                assert (await hello(channel))[0] is grpc.StatusCode.PERMISSION_DENIED
                with pytest.raises(grpc.aio.AioRpcError, match="evicted"):
                    await stub.Resolve(wire.ResolveRequest(pod_id="p", public_id="A" * 10))
                await untouched.write(wire.PodMessage(heartbeat=wire.Heartbeat(seq=1)))
                assert await untouched.read() is not grpc.aio.EOF  # type: ignore[attr-defined]
            async with wires.channel(server.port, renewed) as channel:
                assert (await hello(channel))[0] is grpc.StatusCode.OK
        async with fleet(identity=wires.identity) as server, wires.channel(server.port, evicted) as channel:
            assert (await hello(channel))[0] is grpc.StatusCode.PERMISSION_DENIED  # a replica that starts later

    asyncio.run(scenario())


def test_eviction_is_audited_once_and_makes_no_revision() -> None:
    row, before = known(), queries.head().revision
    actions.evict(row, by=OPERATOR, reason="stolen laptop")
    actions.evict(row, by=OPERATOR)
    event = AuditEvent.objects.get(action="pod.evicted")
    assert (event.target_id, event.after, event.details) == (
        "p",
        {"identity": "pod-1", "certificate": "c" * 64},
        {"reason": "stolen laptop"},
    )
    assert queries.head().revision == before


def test_only_operators_evict() -> None:
    row = known()
    with pytest.raises(Forbidden):
        actions.evict(row, by=Actor(ActorKind.USER, "1", "ada"))
    assert not Eviction.objects.exists()


def test_a_pod_without_a_certificate_cannot_be_evicted_by_one() -> None:
    row = known(certificate="")
    with pytest.raises(ValidationError, match="no certificate"):
        actions.evict(row, by=OPERATOR)
