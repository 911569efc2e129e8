"""However long a request waits and whatever it waits for: what has ended meanwhile is not written to a provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from dataplane.core import keys
from dataplane.core.errors import Code
from dataplane.core.rows import Row, VirtualKey
from dataplane.core.snapshot import KeyState
from dataplane.core.usage import Outcome
from dataplane.proxy.client.connection import ClientConnection
from dataplane.proxy.client.conversation import Waiting
from tests.core import build
from tests.proxy.fake_holds import DOLLAR, budget
from tests.proxy.stage import (
    ANSWER,
    MESSAGE,
    PEPPER,
    TOKEN,
    Peer,
    Response,
    Stage,
    answer,
    get,
    mint,
    play,
    post,
    virtual_key,
)

NOW_MS = 1_767_225_600_000
RAW = post("/v1/messages", MESSAGE)


# ---- what a request waits for: `wait` begins it, what that returns lets it go on -----------------------------------

Release = Callable[[], Awaitable[None]]


class Held:
    """In place of the pod's gate: connections wait before they are made, or once they are (as in a TLS handshake)."""

    def __init__(self, stage: Stage, *, connected_first: bool) -> None:
        upstreams: Any = stage.pod.upstreams
        self._gate = upstreams.gate
        self._connected_first = connected_first
        self.waiting = asyncio.Event()
        self._opened = asyncio.Event()
        upstreams.gate = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gate, name)

    async def connect(self, *arguments: Any) -> Any:
        connection = await self._gate.connect(*arguments) if self._connected_first else None
        self.waiting.set()
        await self._opened.wait()
        return connection or await self._gate.connect(*arguments)

    async def release(self) -> None:
        self._opened.set()


async def a_body(stage: Stage, client: Peer, raw: bytes) -> Release:
    await client.send(raw[:-10])
    await stage.eventually(lambda: bool(stage.telemetry.open))
    await asyncio.sleep(0.01)

    async def release() -> None:
        await client.send(raw[-10:])

    return release


async def money(stage: Stage, client: Peer, raw: bytes) -> Release:
    stage.holds.answers.clear()
    await client.send(raw)
    await stage.eventually(lambda: bool(stage.holds.book.unanswered_asks))

    async def release() -> None:
        stage.holds.answers.set()

    return release


async def the_line(stage: Stage, client: Peer, raw: bytes) -> Release:
    other = await stage.client()
    provider = await stage.asked(other, RAW)
    await client.send(raw)
    await stage.eventually(lambda: any(host.line for host in stage.pod.upstreams._hosts.values()))

    async def release() -> None:
        await provider.send(answer(ANSWER))
        await other.response()
        stage._arrivals.put_nowait(provider)  # what comes next over it is the request that waited

    return release


async def _connecting(stage: Stage, client: Peer, raw: bytes, *, connected_first: bool) -> Release:
    held = Held(stage, connected_first=connected_first)
    await client.send(raw)
    await held.waiting.wait()
    return held.release


async def the_way(stage: Stage, client: Peer, raw: bytes) -> Release:
    return await _connecting(stage, client, raw, connected_first=False)


async def a_handshake(stage: Stage, client: Peer, raw: bytes) -> Release:
    return await _connecting(stage, client, raw, connected_first=True)


async def a_second_connection(stage: Stage, client: Peer, raw: bytes) -> Release:
    other = await stage.client()
    provider = await stage.asked(other, RAW)
    await provider.send(answer(ANSWER))
    await other.response()
    held = Held(stage, connected_first=False)
    await client.send(raw)
    provider.close()  # as the request was under way to it
    await held.waiting.wait()
    return held.release


WAITS = (a_body, money, the_line, the_way, a_handshake, a_second_connection)


# ---- what ends meanwhile ---------------------------------------------------------------------------------------


def changes(row: Callable[[Stage], Row]) -> Callable[[Stage], None]:
    return lambda stage: stage.configuration.change(row(stage))


def of_key(**fields: Any) -> Callable[[Stage], None]:
    return changes(lambda stage: replace(stage.configuration.snapshot.keys["vk_1"], **fields, revision=9))


def removes(kind: type[Row], id: str) -> Callable[[Stage], None]:
    def remove(stage: Stage) -> None:
        configuration = stage.configuration
        configuration.snapshot = configuration.snapshot.apply(9, [], [(kind, id)])

    return remove


def silence(stage: Stage) -> None:
    stage.configuration.age_ms = 45_000


def a_second_passes(stage: Stage) -> None:
    stage.wall_ms += 1_000


def shorter_patience(stage: Stage) -> None:
    stage.configuration.change(build.organization(price_list_id="price_1", revision=9))


def _secret(not_after_ms: int) -> Any:
    parsed = keys.parse(TOKEN)
    assert parsed is not None
    return build.secret(parsed.public_id, keys.digest(PEPPER, TOKEN), not_after_ms=not_after_ms)


OTHER_SECRET = build.secret(mint(2)[1], keys.digest(PEPPER, mint(2)[0]))


@dataclass(frozen=True)
class End:
    happens: Callable[[Stage], None]
    status: int
    code: Code
    rows: tuple[Row, ...] = ()
    age_ms: int = 0


ENDS = {
    "the fleet falls silent": End(silence, 503, Code.CONFIGURATION_STALE),
    "its organization is less patient": End(
        shorter_patience,
        503,
        Code.CONFIGURATION_STALE,
        (build.organization(price_list_id="price_1", freshness_bound_ms=3_600_000),),
        age_ms=50_000,
    ),
    "revoked": End(of_key(state=KeyState.REVOKED), 401, Code.VIRTUAL_KEY_REVOKED),
    "disabled": End(of_key(state=KeyState.DISABLED), 401, Code.VIRTUAL_KEY_DISABLED),
    "removed": End(removes(VirtualKey, "vk_1"), 401, Code.INVALID_API_KEY),
    "expired": End(a_second_passes, 401, Code.VIRTUAL_KEY_EXPIRED, (virtual_key(expires_at_ms=NOW_MS + 1_000),)),
    "rotated": End(of_key(secrets=(OTHER_SECRET,)), 401, Code.VIRTUAL_KEY_EXPIRED),
    "rotated with a grace": End(of_key(secrets=(OTHER_SECRET, _secret(NOW_MS))), 401, Code.VIRTUAL_KEY_EXPIRED),
    "the grace runs out": End(
        a_second_passes, 401, Code.VIRTUAL_KEY_EXPIRED, (replace(virtual_key(), secrets=(_secret(NOW_MS + 1_000),)),)
    ),
    "organization off": End(
        changes(lambda stage: build.organization(active=False, revision=9)), 401, Code.VIRTUAL_KEY_DISABLED
    ),
    "project off": End(changes(lambda stage: build.project(active=False, revision=9)), 401, Code.VIRTUAL_KEY_DISABLED),
    "principal off": End(
        changes(lambda stage: build.principal(active=False, revision=9)), 401, Code.VIRTUAL_KEY_DISABLED
    ),
    "provider off": End(
        changes(
            lambda stage: replace(stage.configuration.snapshot.providers["prov_anthropic"], enabled=False, revision=9)
        ),
        400,
        Code.PROVIDER_NOT_REACHABLE,
    ),
    "provider removed": End(removes(build.provider().__class__, "prov_anthropic"), 400, Code.PROVIDER_NOT_REACHABLE),
    "provider closed to the key": End(of_key(providers_allowed=("prov_openai",)), 400, Code.PROVIDER_NOT_REACHABLE),
    "model taken from the key": End(of_key(models_allowed=("claude-haiku*",)), 403, Code.MODEL_NOT_ALLOWED),
}


def stage_of(end: End) -> Stage:
    limits = {"upstream_per_host": 1, "upstream_waiting_s": 60.0, "connect_s": 60.0}
    return Stage(limits=limits, rows=(budget(), *end.rows), wall_ms=NOW_MS)


async def reached(stage: Stage) -> bool:
    """Whether a byte of a request came to the provider over any connection that is still to be looked at."""
    while not stage.nobody_called():
        provider = await stage.provider()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                if await provider.reader.read(1):
                    return True
    return False


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.__name__)
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_ends_while_a_request_waits_never_reaches_the_provider(wait: Any, end: End):
    async def scene() -> None:
        async with stage_of(end) as stage:
            stage.configuration.age_ms = end.age_ms
            stage.holds.left["bud_1"] = 2 * DOLLAR
            client = await stage.client()
            release = await wait(stage, client, RAW)
            before = len(stage.telemetry.records)
            end.happens(stage)
            await release()
            response = await client.response()
            assert (response.status, _code(response)) == (end.status, end.code)
            assert json.loads(response.body)["type"] == "error"  # as Anthropic writes them
            assert not await reached(stage)
            await stage.eventually(lambda: not stage.telemetry.open)
            record = next(each for each in stage.telemetry.records[before:] if each.outcome is not Outcome.OK)
            assert (record.outcome, record.refusal_code, record.cost_nano) == (Outcome.REFUSED, end.code, 0)
            assert record.http_status == end.status
            assert stage.holds.in_flight == 0
            assert stage.holds.book.problems() == []

    play(scene())


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.__name__)
def test_where_nothing_ends_the_request_is_served_after_its_wait(wait: Any):
    async def scene() -> None:
        async with stage_of(ENDS["revoked"]) as stage:
            stage.holds.left["bud_1"] = 2 * DOLLAR
            client = await stage.client()
            release = await wait(stage, client, RAW)
            await release()
            provider = await stage.provider()
            await provider.request()
            await provider.send(answer(ANSWER))
            assert (await client.response()).status == 200

    play(scene())


@pytest.mark.parametrize(
    "raw",
    [
        post("/v1/messages/count_tokens", MESSAGE),
        post("/v1/chat/completions", b'{"model":"gpt-4.1","messages":[]}'),
        post("/v1/embeddings", b'{"model":"gpt-4.1","input":"x"}'),
        post("/v1beta/models/gemini-2.5-pro:generateContent", b'{"contents":[]}'),
        get("/v1/responses/resp_1"),
        get("/v1/responses/resp_1", method="DELETE"),
    ],
    ids=lambda raw: raw.split(b" HTTP")[0].decode(),
)
def test_the_last_look_is_every_routes(raw: bytes):
    async def scene() -> None:
        async with stage_of(ENDS["revoked"]) as stage:
            stage.holds.left["bud_1"] = 2 * DOLLAR
            client = await stage.client()
            release = await the_way(stage, client, raw)
            silence(stage)
            await release()
            assert (await client.response()).status == 503
            assert not await reached(stage)

    play(scene())


def test_a_connection_whose_request_was_refused_at_the_last_moment_frees_its_place():
    async def scene() -> None:
        async with stage_of(ENDS["revoked"]) as stage:
            stage.holds.left["bud_1"] = 2 * DOLLAR
            client = await stage.client()
            release = await the_way(stage, client, RAW)
            silence(stage)
            await release()
            assert (await client.response()).status == 503
            stage.configuration.age_ms = 0
            while not stage.nobody_called():
                await stage.provider()
            provider = await stage.asked(client, RAW)
            await provider.send(answer(ANSWER))
            assert (await client.response()).status == 200

    play(scene())


def test_a_body_that_comes_steadily_but_for_too_long_is_408():
    async def scene() -> None:
        async with Stage(limits={"body_s": 120}) as stage:
            client = await stage.client()
            raw = post("/v1/messages", MESSAGE + b" " * 1_000_000)
            await client.send(raw[:1_000])
            await stage.eventually(lambda: bool(stage.telemetry.open))
            at = 1_000
            for _ in range(4):  # 40 KB in each 29 s: as much as is asked for
                await client.send(raw[at : at + 40_000])
                at += 40_000
                (connection,) = stage.pod.connections
                await stage.eventually(partial(_has_so_much, connection, at - 1_000))
                stage.time_passes(29)
            assert stage.telemetry.open == 1
            stage.time_passes(5)
            response = await client.response()
            assert response.status == 408
            assert b"whole within 120 s" in response.body
            assert json.loads(response.body)["type"] == "error"
            assert stage.nobody_called()

    play(scene())


def test_each_body_of_a_connection_has_all_that_time():
    async def scene() -> None:
        async with Stage(limits={"body_s": 120, "body_window_s": 1_000, "upstream_idle_s": 1_000}) as stage:
            client = provider = await stage.client()
            for _ in range(3):
                await client.send(RAW[:-10])
                await stage.eventually(lambda: bool(stage.telemetry.open))
                (connection,) = stage.pod.connections
                await stage.eventually(partial(_waits_for_the_body, connection))
                stage.server.sweep(stage.now)
                connection.mark += 1
                stage.now += 100
                stage.server.sweep(stage.now)
                await client.send(RAW[-10:])
                if not stage.telemetry.records:
                    provider = await stage.provider()
                await provider.request()
                await provider.send(answer(ANSWER))
                assert (await client.response()).status == 200

    play(scene())


def _has_so_much(connection: ClientConnection, size: int) -> bool:
    return connection._body_bytes >= size


def _waits_for_the_body(connection: ClientConnection) -> bool:
    return connection.waiting is Waiting.BODY


def _code(response: Response) -> str:
    return str(json.loads(response.body)["error"]["code"])
