"""A real pod under a control plane of the future: what it does not understand it refuses to those whom that covers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from dataplane.core import keys
from dataplane.core.secret import Secret
from dataplane.core.snapshot import KeySecret, ProviderKind, VirtualKey
from protos import fleet_pb2 as pb
from tests.contract.requests import Ask, ask
from tests.core import build
from tests.core.money.budget_world import budget
from tests.link import fleet_model as fleet
from tests.link.fleet_model import Database, FromTheFuture, cover
from tests.link.scripted_fleet import Conversation, ScriptedFleet, serving
from tests.simprovider import SimServer, running

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60


def minted(number: int) -> tuple[VirtualKey, str]:
    made = keys.mint("live", secrets.token_bytes)
    token = made.token.reveal()
    secret = KeySecret(made.public_id, 1, keys.digest(Secret(fleet.PEPPER), token), 0)
    key = replace(fleet.key(number), public_id=made.public_id, secrets=(secret,))
    return key, token.decode()


@dataclass
class Scene:
    """One pod, its fleet as the test scripts it, a provider, two keys. Every 200 and 503 below went through them."""

    database: Database
    conversation: Conversation
    client: httpx.AsyncClient
    sim: SimServer
    tokens: tuple[str, str]

    async def commits(self, *rows: fleet.Sent, removed: tuple[str, ...] = ()) -> pb.Ack:
        before = self.database.revision
        self.database.commit(*rows, removed=removed)
        await self.conversation.says(*fleet.delta(self.database, before))
        ack: pb.Ack = await self.conversation.hears("ack")
        assert ack.revision == self.database.revision
        return ack

    async def ask(self, number: int, asked: Ask | None = None) -> httpx.Response:
        asked = asked or ask("anthropic_messages", streaming=False)
        headers = dict(asked.headers) | {"x-api-key": self.tokens[number], "content-type": "application/json"}
        return await self.client.post(asked.path, content=asked.body, headers=headers)

    async def statuses(self) -> tuple[int, int]:
        return (await self.ask(0)).status_code, (await self.ask(1)).status_code


@contextlib.asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    database = Database()
    (one, token), (other, another) = minted(0), minted(1)
    server = ScriptedFleet()
    async with serving(server) as port, running({"anthropic": "sk-sim"}) as sim:
        provider = build.provider(base_url=sim.url, credential=Secret("sk-sim"), private_network=True)
        database.commit(one, other, provider)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIGATEWAY_")}
        settings = {"LISTEN": "127.0.0.1:0", "FLEET": f"127.0.0.1:{port}", "FLEET_INSECURE": "true", "PRE_DRAIN_S": "0"}
        pod = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dataplane"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            env=inherited | {f"AIGATEWAY_{name}": value for name, value in settings.items()},
        )
        try:
            listening = await event(pod, "gateway_listening")
            conversation = await server.next()
            await conversation.introduces(database)
            ack = pb.HeartbeatAck(seq=1, head_revision=database.revision, fresh=True, epoch=database.epoch)
            await conversation.says(pb.FleetMessage(heartbeat_ack=ack))
            await event(pod, "gateway_started")
            reading = asyncio.ensure_future(_read_on(pod))
            base_url = f"http://127.0.0.1:{listening['port']}"
            async with httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=PATIENCE_S) as client:
                yield Scene(database, conversation, client, sim, (token, another))
            reading.cancel()
        finally:
            pod.kill()
            await pod.wait()


async def event(pod: asyncio.subprocess.Process, name: str) -> dict[str, Any]:
    assert pod.stdout is not None
    while line := await pod.stdout.readline():
        said: dict[str, Any] = json.loads(line)
        if said["event"] == name:
            return said
    raise AssertionError(f"the pod ended before {name}")


async def _read_on(pod: asyncio.subprocess.Process) -> None:
    """A pipe that nobody reads would fill."""
    assert pod.stdout is not None
    while await pod.stdout.readline():
        pass


def on_loop(story: Any) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await story

    uvloop.run(bounded())


def test_a_kind_from_the_future_refuses_the_keys_that_it_covers_until_it_goes_away() -> None:
    async def story() -> None:
        async with scene() as here:
            assert await here.statuses() == (200, 200)
            rule = FromTheFuture("pol_1", kind=14, cover=cover(("virtual_key", "vk_0")))
            ack = await here.commits(rule)
            assert [(item.kind, item.id) for item in ack.not_understood.items] == [(14, "pol_1")]
            refused = await here.ask(0)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            error = refused.json()["error"]
            assert (error["type"], error["code"]) == ("overloaded_error", "rule_not_understood")
            assert "older than a rule that covers your key (kind 14 pol_1: this kind of" in error["message"]
            assert "the platform team can upgrade this one" in error["message"]
            assert (await here.ask(1)).status_code == 200
            metrics = (await here.client.get("/metrics")).text
            assert "aigateway_configuration_not_understood 1.0" in metrics
            assert (await here.client.get("/readyz")).status_code == 200
            heartbeat = await here.conversation.hears("heartbeat")
            told = heartbeat.status.not_understood
            assert (told.count, told.keys) == (1, 1)
            ack = await here.commits(removed=("pol_1",))
            assert ack.not_understood == pb.NotUnderstood()
            assert await here.statuses() == (200, 200)

    on_loop(story())


def test_a_budget_in_words_from_the_future_refuses_whom_it_covers_until_it_is_said_in_words_of_today() -> None:
    async def story() -> None:
        async with scene() as here:
            known = budget(scope_id="proj_1", enabled=True)
            galaxy = FromTheFuture("bud_1", known=known, words=(("scope_kind", "galaxy"),))
            await here.commits(replace(galaxy, cover=cover(("virtual_key", "vk_1"))))
            assert await here.statuses() == (200, 503)
            await here.commits(galaxy)  # without a cover: the whole organization
            assert await here.statuses() == (503, 503)
            await here.commits(replace(known, scope_id="somewhere_else"))
            assert await here.statuses() == (200, 200)

    on_loop(story())


def test_a_provider_of_a_kind_from_the_future_refuses_only_what_would_go_there() -> None:
    async def story() -> None:
        async with scene() as here:
            known = build.provider("prov_x", name="orbit", kind=ProviderKind.OPENAI, models=("orbit-1",))
            await here.commits(FromTheFuture("prov_x", known=known, words=(("kind", "orbital"),)))
            assert await here.statuses() == (200, 200)
            refused = await here.ask(0, ask("anthropic_messages", streaming=False, model="orbit-1"))
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "rule_not_understood")
            assert "(provider prov_x: kind 'orbital' is unknown)" in refused.json()["error"]["message"]

    on_loop(story())


def test_a_stream_that_runs_when_its_key_comes_under_what_is_not_understood_ends_in_its_own_time() -> None:
    async def story() -> None:
        async with scene() as here:
            here.sim.simulator.script(hold="the rule", hold_at=3, events=6)
            running_one = asyncio.ensure_future(here.ask(0, ask("anthropic_messages", streaming=True)))
            while not here.sim.simulator.requests:
                await asyncio.sleep(0.005)
            await here.commits(FromTheFuture("pol_1", cover=cover(("virtual_key", "vk_0"))))
            assert (await here.ask(0)).status_code == 503
            here.sim.simulator.release("the rule")
            answer = await running_one
            assert answer.status_code == 200
            assert answer.text.rstrip().endswith('{"type":"message_stop"}')

    on_loop(story())


@pytest.mark.parametrize("dialect", ["anthropic_messages", "openai_responses", "openai_chat", "gemini"])
def test_every_dialect_says_it_in_its_own_shape(dialect: str) -> None:
    async def story() -> None:
        async with scene() as here:
            await here.commits(FromTheFuture("pol_1"))
            answer = await here.ask(0, ask(dialect, streaming=True))
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            error = answer.json()["error"]
            assert "older than a rule" in error["message"]
            expected = {
                "anthropic_messages": ("type", "overloaded_error"),
                "gemini": ("status", "UNAVAILABLE"),
            }.get(dialect, ("type", "service_unavailable"))
            assert error[expected[0]] == expected[1]
            assert "rule_not_understood" in answer.text

    on_loop(story())
