"""What the connect gate lets through: checked addresses of plain names."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import ssl
import subprocess
from pathlib import Path

import pytest

from dataplane.proxy.limits import Limits
from dataplane.proxy.provider.gate import Destination, Forbidden, Gate, check_address, check_host, client_tls
from dataplane.proxy.provider.pool import Pool
from tests.core import build
from tests.proxy.stage import MESSAGE, NO_AUTHORITIES, Stage, play, post


def _addresses(text: str) -> list[str]:
    return text.split()


ALWAYS_REFUSED = _addresses(
    """
    0.0.0.0 0.1.2.3 169.254.169.254 169.254.170.2 169.254.0.1 192.0.0.192 198.18.0.1 224.0.0.1 239.255.255.250 240.0.0.1
    255.255.255.255 100.100.100.200 168.63.129.16 192.0.2.1 198.51.100.7 203.0.113.9
    :: ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::8.8.8.8 64:ff9b:1::1
    100::1 2001::1 2001:db8::1 2002:7f00:1::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1
    """
)
PRIVATE = _addresses(
    """
    127.0.0.1 127.8.8.8 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255 ::1 fc00::1 fd12::1
    """
)
PUBLIC = _addresses(
    """
    8.8.8.8 1.1.1.1 160.79.104.10 172.15.0.1 172.32.0.1 100.63.255.255 100.128.0.1 2606:4700::1 2a00:1450:4001::1
    """
)


@pytest.mark.parametrize("address", ALWAYS_REFUSED)
@pytest.mark.parametrize("private_network", [False, True])
def test_some_ranges_are_never_reached(address: str, private_network: bool):
    with pytest.raises(Forbidden):
        check_address(ipaddress.ip_address(address), private_network)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_networks_are_reached_where_the_operator_says_so(address: str):
    check_address(ipaddress.ip_address(address), True)
    with pytest.raises(Forbidden):
        check_address(ipaddress.ip_address(address), False)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_reached(address: str):
    check_address(ipaddress.ip_address(address), False)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "017700000001",
            "0177.0.0.1",
            "127.1",
            "127.0.1",
            "1",
            "0",
            "127.0.0.1.",
            "127.0.0.01",
        ),
        *(
            "localhost.",
            "metadata.google.internal.",
            "LOCALHOST",
            "a..b",
            ".a",
            "a.",
            "-a.test",
            "a_.test",
            "a-.test",
            "",
        ),
        *(
            "127.0.0.1%25eth0",
            "fe80::1%eth0",
            "[fe80::1%eth0]",
            "a b",
            "a\tb",
            "a\nb",
            "a\x00b",
            "a/b",
            "a\\b",
            "a@b",
            "a?b",
            "a#b",
            "a:b",
        ),
        *(
            "127.0.0.1:80",
            "\u2460.test",
            "\uff11\uff12\uff17.0.0.1",
            "l\u043ecalhost",
            "a%2eb",
            "[::1",
            "::1]",
            "256.1.1.1",
            "1.2.3",
            "x" * 300,
        ),
        *("127.0.0.1\u3002", "1.2.3.4.5", "0x7f000001.test.1", "test.123", "test.0x1"),
    ],
)
def test_hosts_that_can_be_read_in_two_ways_are_refused(host: str):
    with pytest.raises(Forbidden):
        check_host(host)


@pytest.mark.parametrize(
    "host", ["api.anthropic.com", "localhost", "my_service.internal", "a", "x-1.y2.z", "xn--bcher-kva.example"]
)
def test_names_are_names(host: str):
    assert check_host(host) is None


def gate(*answers: list[str], own_ports: set[int] | None = None) -> tuple[Gate, list[str]]:
    """A gate whose resolver gives these answers, one after the other; and the names that it was asked for."""
    asked: list[str] = []
    left = list(answers)

    async def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return left.pop(0)

    return Gate(NO_AUTHORITIES, 60.0, resolver, own_ports or set()), asked


async def listening(host: str = "127.0.0.1") -> tuple[asyncio.Server, int, asyncio.Queue[object]]:
    met: asyncio.Queue[object] = asyncio.Queue()
    server = await asyncio.start_server(lambda reader, writer: met.put_nowait(writer), host, 0)
    return server, server.sockets[0].getsockname()[1], met


@pytest.mark.parametrize("bad", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1%2"])
def test_one_bad_address_among_good_ones_is_enough(bad: str):
    async def scene() -> None:
        server, port, met = await listening()
        checked, _ = gate(["8.8.8.8", bad])
        with pytest.raises(Forbidden):
            await checked.connect(Destination("http", "mixed.test", port), asyncio.Protocol)
        assert met.empty()
        server.close()

    play(scene())


def test_a_name_is_resolved_once_and_the_checked_address_is_the_one_connected_to():
    async def scene() -> None:
        server, port, met = await listening()
        # a rebinding server: harmless the first time, the metadata service the second
        checked, asked = gate(["127.0.0.1"], ["169.254.169.254"])
        await checked.connect(Destination("http", "rebinding.test", port, True), asyncio.Protocol)
        await asyncio.wait_for(met.get(), 60)
        assert asked == ["rebinding.test"]
        assert met.empty()
        server.close()

    play(scene())


def test_the_next_address_is_tried_when_one_does_not_answer():
    async def scene() -> None:
        server, port, met = await listening("127.0.0.1")
        checked, _ = gate(["127.9.9.9", "127.0.0.1"])
        await checked.connect(Destination("http", "two.test", port, True), asyncio.Protocol)
        await asyncio.wait_for(met.get(), 60)
        assert met.empty()
        server.close()

    play(scene())


def test_a_pod_is_not_its_own_provider():
    async def scene() -> None:
        async with Stage() as stage:
            stage.configuration.change(
                build.provider(
                    "prov_self",
                    name="self",
                    models=("claude-loop",),
                    base_url=f"http://127.0.0.1:{stage.port}",
                    private_network=True,
                    revision=5,
                )
            )
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE.replace(b"claude-sonnet-4-5", b"self/claude-loop")))
            response = await client.response()
            assert response.status == 502
            assert "this pod itself" in json.loads(response.body)["error"]["message"]

    play(scene())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254"])
def test_a_tenants_provider_cannot_be_on_the_pods_own_network(host: str):
    async def scene() -> None:
        async with Stage() as stage:
            stage.configuration.change(
                build.provider(
                    "prov_inner",
                    name="inner",
                    models=("claude-inner",),
                    base_url=f"https://{host}:{stage.provider_port}",
                    private_network=False,
                    revision=5,
                )
            )
            client = await stage.client()
            await client.send(post("/v1/messages", MESSAGE.replace(b"claude-sonnet-4-5", b"inner/claude-inner")))
            response = await client.response()
            assert response.status == 502
            assert stage.nobody_called()
            record = await stage.settled()
            assert (record.outcome, record.cost_nano) == ("failed", 0)

    play(scene())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """For provider.test, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", "/CN=provider.test", "-addext", "subjectAltName=DNS:provider.test"),
            *("-keyout", str(key), "-out", str(chain)),
        ],
        check=True,
        capture_output=True,
    )
    return key, chain


async def tls_provider(certificate: tuple[Path, Path], seen: list[tuple[str, bool]]) -> tuple[asyncio.Server, int]:
    """Answers every request with `{}`; notes of each connection the name asked for and whether it was resumed."""
    key, chain = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    names: list[str] = []
    context.sni_callback = lambda secure, name, _: names.append(name or "")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((names[-1], bool(writer.get_extra_info("ssl_object").session_reused)))
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    return server, int(server.sockets[0].getsockname()[1])


class Sessions(dict[str, ssl.SSLSession]):
    """Counts how often one was copied."""

    copies = 0

    def __setitem__(self, host: str, session: ssl.SSLSession) -> None:
        self.copies += 1
        super().__setitem__(host, session)


def test_many_requests_share_a_handshake_and_the_next_connection_resumes_its_session(certificate: tuple[Path, Path]):
    async def scene() -> None:
        seen: list[tuple[str, bool]] = []
        server, port = await tls_provider(certificate, seen)

        async def resolver(host: str, port: int) -> list[str]:
            return ["127.0.0.1"]

        now = 0.0
        context = client_tls(str(certificate[1]))
        context.sessions = sessions = Sessions()
        pool = Pool(Gate(context, 60.0, resolver), Limits(), lambda: now)
        to = Destination("https", "provider.test", port, True)
        for _ in range(3):
            for _ in range(5):
                response = await pool.ask(to, "GET", b"GET / HTTP/1.1\r\nHost: provider.test\r\n\r\n", b"")
                assert response.head.status == 200
            now += 100
            pool.sweep(now)
            while pool.counts() != (0, 0):
                await asyncio.sleep(0)
        assert seen == [("provider.test", False), ("provider.test", True), ("provider.test", True)]
        assert sessions.copies == 1
        server.close()

    play(scene())


def test_a_certificate_for_another_name_is_refused(certificate: tuple[Path, Path]):
    async def scene() -> None:
        seen: list[tuple[str, bool]] = []
        server, port = await tls_provider(certificate, seen)
        checked, _ = gate(["127.0.0.1"])
        checked.tls = client_tls(str(certificate[1]))
        with pytest.raises(OSError, match="certificate"):
            await checked.connect(Destination("https", "other.test", port, True), asyncio.Protocol)
        server.close()

    play(scene())


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: tuple[Path, Path]):
    async def scene() -> None:
        server, port = await tls_provider(certificate, [])
        checked, _ = gate(["127.0.0.1"])
        checked.tls = client_tls()
        with pytest.raises(OSError, match="certificate"):
            await checked.connect(Destination("https", "provider.test", port, True), asyncio.Protocol)
        server.close()

    play(scene())
