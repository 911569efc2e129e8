"""Certificates: who gets in, as a real TLS server sees it."""

from __future__ import annotations

import asyncio
import datetime as dt
import stat
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from django.core.management import CommandError, call_command

from controlplane.environment import ConfigurationError
from controlplane.fleet import pki
from controlplane.fleet.calls.server import Identity
from controlplane.fleet.models import Pod
from protos import fleet_pb2 as wire
from protos import fleet_pb2_grpc
from tests.controlplane.fleet.pods import PATIENCE_S, do, fleet

NOW = dt.datetime.now(dt.UTC)


def test_the_command_makes_an_authority_a_server_and_pods_readable_by_their_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    call_command("pki", "init", "--directory", str(directory), stdout=_Nowhere())
    call_command(
        "pki", "server", "--host", "localhost", "--host", "::1", "--directory", str(directory), stdout=_Nowhere()
    )
    call_command("pki", "pod", "--name", "pod-1", "--directory", str(directory), stdout=_Nowhere())
    made = {path.name for path in directory.iterdir()}
    assert made == {"ca.pem", "ca.key", "fleet.pem", "fleet.key", "pod-pod-1.pem", "pod-pod-1.key"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    certificate = x509.load_pem_x509_certificate((directory / "pod-pod-1.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://aigateway/pod/pod-1"]


def test_an_authority_is_never_replaced(tmp_path: Path) -> None:
    call_command("pki", "init", "--directory", str(tmp_path), stdout=_Nowhere())
    before = (tmp_path / "ca.key").read_bytes()
    with pytest.raises(CommandError, match="already holds"):
        call_command("pki", "init", "--directory", str(tmp_path), stdout=_Nowhere())
    assert (tmp_path / "ca.key").read_bytes() == before


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", "-a", "a" * 64, "a b", "ä"])
def test_a_pods_name_is_a_plain_one(name: str, tmp_path: Path) -> None:
    call_command("pki", "init", "--directory", str(tmp_path), stdout=_Nowhere())
    with pytest.raises(CommandError):
        call_command("pki", "pod", f"--name={name}", "--directory", str(tmp_path), stdout=_Nowhere())


def test_only_a_pods_certificate_names_a_pod() -> None:
    def named(*names: str) -> str | None:
        return pki.pod_name({"x509_subject_alternative_name": [name.encode() for name in names]})

    assert named("spiffe://aigateway/pod/a-1") == "a-1"
    assert named("localhost", "spiffe://aigateway/pod/a") == "a"
    for other in (
        "spiffe://aigateway/fleet",
        "spiffe://other/pod/a",
        "spiffe://aigateway/pod/",
        "spiffe://aigateway/pod/A/b",
    ):
        assert named(other) is None
    assert pki.pod_name({}) is None


class _Nowhere:
    def write(self, text: str) -> None:
        pass


class Wire:
    """Files for a server, and channels of whoever tries to reach it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = pki.create_authority(NOW)
        self.authority.write(directory, "ca")
        self.renew()

    def renew(self) -> None:
        pki.issue_server(self.authority, ["localhost", "127.0.0.1"], NOW).write(self.directory, "fleet")

    @property
    def identity(self) -> Identity:
        return Identity(self.directory / "ca.pem", self.directory / "fleet.pem", self.directory / "fleet.key")

    def channel(self, port: int, client: pki.Issued | None, authority: pki.Issued | None = None) -> Any:
        credentials = grpc.ssl_channel_credentials(
            (authority or self.authority).certificate,
            client.key if client else None,
            client.certificate if client else None,
        )
        return grpc.aio.secure_channel(f"localhost:{port}", credentials)


async def hello(channel: Any, pod_id: str = "p") -> tuple[grpc.StatusCode, Any]:
    call = fleet_pb2_grpc.FleetStub(channel).Watch()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await call.write(wire.PodMessage(hello=wire.Hello(pod_id=pod_id, session_id="s", name="n")))
            return grpc.StatusCode.OK, await call.read()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return await call.code(), None


@pytest.mark.django_db(transaction=True)
def test_pods_of_the_authority_get_in_and_nobody_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        wires = Wire(tmp_path)
        stranger = pki.create_authority(NOW)
        refused = {
            "no certificate": None,
            "another authority's": pki.issue_pod(stranger, "pod-1", NOW),
            "a server's": pki.issue_server(wires.authority, ["localhost"], NOW),
            "an expired one": pki.issue_pod(wires.authority, "pod-1", NOW - dt.timedelta(days=9), days=1),
        }
        async with fleet(identity=wires.identity) as server:
            for name, client in refused.items():
                async with wires.channel(server.port, client) as channel:
                    assert (await hello(channel))[0] is not grpc.StatusCode.OK, name
            async with wires.channel(server.port, pki.issue_pod(wires.authority, "pod-1", NOW), stranger) as channel:
                assert (await hello(channel))[0] is grpc.StatusCode.UNAVAILABLE
            async with grpc.aio.insecure_channel(f"localhost:{server.port}") as channel:
                assert (await hello(channel))[0] is grpc.StatusCode.UNAVAILABLE
            async with wires.channel(server.port, pki.issue_pod(wires.authority, "pod-1", NOW)) as channel:
                code, message = await hello(channel)
                assert (code, bool(message.welcome.peppers)) == (grpc.StatusCode.OK, True)
                await server.roster.flush()
                assert (await do(Pod.objects.get)).identity == "pod-1"
                async with wires.channel(server.port, pki.issue_pod(wires.authority, "pod-2", NOW)) as thief:
                    assert (await hello(thief))[0] is grpc.StatusCode.PERMISSION_DENIED

    asyncio.run(scenario())


@pytest.mark.django_db(transaction=True)
def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        wires = Wire(tmp_path)
        pod = pki.issue_pod(wires.authority, "pod-1", NOW)
        async with fleet(identity=wires.identity) as server:
            async with wires.channel(server.port, pod) as channel:
                assert (await hello(channel))[0] is grpc.StatusCode.OK
            wires.authority = pki.create_authority(NOW)
            wires.authority.write(tmp_path, "ca")
            wires.renew()
            renewed = pki.issue_pod(wires.authority, "pod-1", NOW)
            async with wires.channel(server.port, renewed) as channel:
                assert (await hello(channel))[0] is grpc.StatusCode.OK
            async with wires.channel(server.port, pod) as channel:
                assert (await hello(channel))[0] is not grpc.StatusCode.OK

    asyncio.run(scenario())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "example.com:0", ":0"])
def test_without_tls_only_a_loopback_address_is_listened_on(listen: str) -> None:
    async def scenario() -> None:
        async with fleet(listen):
            pass

    with pytest.raises(ConfigurationError, match="loopback"):
        asyncio.run(scenario())
