"""The start-up network check: unready until each address was reached once, through the connect gate."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from dataplane.core.endpoints import Reachable
from dataplane.host.network_check import in_words, reach_all
from dataplane.proxy.life import Life
from dataplane.proxy.provider.gate import Destination, Forbidden, Gate, http_tls
from protos import fleet_pb2 as pb
from tests.contract.house import PATIENCE_S
from tests.host.test_workers import environment
from tests.link import fleet_model as fleet
from tests.link.scripted_fleet import ScriptedFleet, serving

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


async def nothing_said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


class Watched(Gate):
    """Tells of each attempt."""

    def __init__(self, connect_s: float = 1.0) -> None:
        super().__init__(http_tls(), connect_s)
        self.asked: asyncio.Queue[Destination] = asyncio.Queue()

    async def connect(self, to: Destination, protocol: Any) -> Any:
        self.asked.put_nowait(to)
        return await super().connect(to, protocol)


def test_it_passes_once_each_was_reached_and_says_which_was_not(on_loop):
    async def story():
        here = await asyncio.start_server(nothing_said, "127.0.0.1", 0)
        port, late = here.sockets[0].getsockname()[1], free_port()
        gate, life = Watched(), Life()
        there, absent = Reachable("tcp", "127.0.0.1", port), Reachable("http", "127.0.0.1", late)
        checking = asyncio.ensure_future(reach_all(gate, [there, absent], life))
        for _ in range(4):  # the first two, and two more of the one that is not there
            assert (await gate.asked.get()).private_network
        assert life.network == {str(there): "ok", str(absent): "the connection was refused"}
        assert not checking.done()
        async with await asyncio.start_server(nothing_said, "127.0.0.1", late):
            await checking
        assert set(life.network.values()) == {"ok"}
        here.close()

    on_loop(story())


def test_without_addresses_there_is_nothing_to_wait_for(on_loop):
    async def story():
        life = Life()
        await reach_all(Watched(), [], life)
        assert life.network == {}

    on_loop(story())


def test_https_is_reached_with_a_trusted_certificate_only(on_loop, authority):
    import ssl

    certificates = authority.issue("provider")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.cert, certificates.key)

    async def story():
        server = await asyncio.start_server(nothing_said, "127.0.0.1", 0, ssl=context)
        wanted = Reachable("https", "127.0.0.1", server.sockets[0].getsockname()[1])
        gate, life = Watched(), Life()
        checking = asyncio.ensure_future(reach_all(gate, [wanted], life))
        for _ in range(2):
            await gate.asked.get()
        assert life.network == {str(wanted): "its certificate is not trusted"}
        gate.tls.load_verify_locations(certificates.ca)
        await checking
        server.close()

    on_loop(story())


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (socket.gaierror(-2, "Name or service not known"), "the name cannot be resolved"),
        (TimeoutError(), "no answer in time"),
        (OSError(113, "No route to host 10.1.2.3"), "no connection"),
        (Forbidden("the host is in a range that is never reached"), "the host is in a range that is never reached"),
    ],
)
def test_the_words_tell_the_step_that_failed_and_no_addresses(failure, words):
    assert in_words(failure) == words


@pytest.mark.processes
def test_a_pod_with_its_configuration_is_degraded_until_its_address_answers(on_loop):
    late = free_port()

    async def story():
        server = ScriptedFleet()
        async with serving(server) as port:
            pod = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "dataplane"),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                env=environment(port, STARTUP_REACH=f"127.0.0.1:{late}"),
            )

            async def event(name: str) -> dict[str, Any]:
                assert pod.stdout is not None
                async with asyncio.timeout(PATIENCE_S):
                    while line := await pod.stdout.readline():
                        said: dict[str, Any] = json.loads(line)
                        if said["event"] == name:
                            return said
                raise AssertionError(f"the pod ended before {name}")

            listening = await event("gateway_listening")
            failed = await event("startup_address_not_reached")
            assert (failed["address"], failed["why"]) == (f"127.0.0.1:{late}", "the connection was refused")
            conversation = await server.next()
            await conversation.introduces(fleet.Database())
            ack = pb.HeartbeatAck(seq=1, head_revision=1, fresh=True, epoch="epoch-1")
            await conversation.says(pb.FleetMessage(heartbeat_ack=ack))
            base = f"http://127.0.0.1:{listening['port']}"
            async with httpx.AsyncClient(base_url=base, timeout=60, trust_env=False) as client:
                waiting = await client.get("/startupz")
                assert (waiting.status_code, waiting.json()["status"]) == (503, "degraded")
                assert waiting.json()["checks"]["network"] == "not reached yet"
                assert waiting.json()["checks"][f"network 127.0.0.1:{late}"] == "the connection was refused"
                assert (await client.get("/healthz")).status_code == 200
                stranger = await client.get("/startupz", headers={"X-Forwarded-For": "203.0.113.9"})
                assert str(late) not in stranger.text
                async with await asyncio.start_server(nothing_said, "127.0.0.1", late):
                    await event("gateway_started")
                passed = await client.get("/startupz")
                assert (passed.status_code, passed.json()["checks"]["network"]) == (200, "ok")
            pod.terminate()
            await pod.wait()

    on_loop(story())
