"""Answers that end before their end: by an admin's hand, and by an expiry where the organization chose so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dataplane.core.snapshot import Row
from tests.core import build
from tests.proxy.stage import TOKEN, Stage, mint, play, post, virtual_key
from tests.proxy.test_life import STREAMS, stream

OTHER_TOKEN, _ = mint(2)
OTHERS: tuple[Row, ...] = (
    build.organization("org_2", price_list_id="price_1"),
    build.project("proj_2", organization_id="org_2"),
    build.principal("prin_2", organization_id="org_2"),
)
IN_MS = 5_000


def other_key(stage: Stage) -> tuple[Row, ...]:
    """A key that shares nothing with the first: not the organization, not the provider."""
    base = f"http://127.0.0.1:{stage.provider_port}"
    return (
        replace(virtual_key(OTHER_TOKEN, "vk_2"), organization_id="org_2", project_id="proj_2", principal_id="prin_2"),
        build.provider("prov_2", organization_id="org_2", base_url=base, private_network=True),
    )


def cuttable(stage: Stage, kind: str) -> Any:
    snapshot = stage.configuration.snapshot
    return {
        "key": snapshot.keys["vk_1"],
        "principal": snapshot.principals["prin_1"],
        "project": snapshot.projects["proj_1"],
        "organization": snapshot.organizations["org_1"],
        "provider": snapshot.providers["prov_anthropic"],
    }[kind]


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("kind", ["key", "principal", "project", "organization"])
def test_what_runs_under_a_row_ends_in_the_same_turn_and_in_the_dialects_words(kind: str, path: str):
    async def scene() -> None:
        async with Stage(rows=OTHERS) as stage:
            stage.configuration.change(*other_key(stage))
            client, provider = await stream(stage, path)
            other, others_provider = await stream(stage, token=OTHER_TOKEN)
            stage.configuration.cut(replace(cuttable(stage, kind), cuts=1))
            (record,) = stage.journal.settled  # the same turn: nothing was awaited
            assert (record.outcome, record.refusal_code, record.key_id) == ("cut", "answer_cut", "vk_1")
            assert record.usage.source == ("metered" if path == "/v1/messages" or "chat" in path else "estimated")
            assert record.usage.why == "cut"
            rest = await client.until(b"0\r\n\r\n")
            assert STREAMS[path][2] in rest
            assert b"ended the answers that were running; ask again" in rest
            assert await provider.closed()
            await others_provider.send(b"7\r\n: more\n\r\n")
            await other.until(b": more")
            # The key works as before.
            again = await stage.client()
            await stage.asked(again, post(path, STREAMS[path][0]))

    play(scene())


def test_what_a_provider_answers_ends_and_what_others_answer_goes_on():
    async def scene() -> None:
        async with Stage() as stage:
            client, provider = await stream(stage)
            other, others_provider = await stream(stage, "/v1/responses")
            stage.configuration.cut(replace(cuttable(stage, "provider"), cuts=1, enabled=False))
            assert b"answer_cut" in await client.until(b"0\r\n\r\n")
            assert await provider.closed()
            await others_provider.send(b"7\r\n: more\n\r\n")
            await other.until(b": more")

    play(scene())


def test_a_request_whose_body_is_still_coming_ends_too():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post("/v1/messages", STREAMS["/v1/messages"][0])[:-5])
            await stage.eventually(lambda: stage.telemetry.open == 1)
            await stage.eventually(lambda: any(exchange.record.key_id for exchange in stage.pod.exchanges))
            stage.configuration.cut(replace(cuttable(stage, "principal"), cuts=1, active=False))
            answer = await client.response()
            assert answer.status == 401
            assert b"person or service" in answer.body
            assert stage.nobody_called()

    play(scene())


def test_whoever_used_a_secret_that_was_rotated_out_is_told_so():
    async def scene() -> None:
        async with Stage() as stage:
            client, _ = await stream(stage)
            key = stage.configuration.snapshot.keys["vk_1"]
            fresh = build.secret("B" * 10)
            old = replace(key.secrets[0], not_after_ms=1)
            stage.configuration.cut(replace(key, secrets=(fresh, old), public_id="B" * 10, cuts=1))
            assert b"was rotated and the old one no longer works" in await client.until(b"0\r\n\r\n")

    play(scene())


def expiring(stage: Stage, what: str) -> Row:
    """The first key, with the moment at which it, or the secret that is used, expires."""
    key, at = stage.configuration.snapshot.keys["vk_1"], stage.wall_ms + IN_MS
    if what == "key":
        return replace(key, expires_at_ms=at)
    return replace(key, secrets=(build.secret("B" * 10), replace(key.secrets[0], not_after_ms=at)))


@pytest.mark.parametrize("what", ["key", "secret"])
@pytest.mark.parametrize("chosen", [True, False])
def test_an_expiry_cuts_only_where_the_organization_chose_so_and_not_a_moment_before(what: str, chosen: bool):
    async def scene() -> None:
        async with Stage() as stage:
            organization = stage.configuration.snapshot.organizations["org_1"]
            stage.configuration.change(replace(organization, cut_on_expiry=chosen), expiring(stage, what))
            client, provider = await stream(stage)
            stage.wall_ms += IN_MS - 1
            stage.time_passes(1)
            assert stage.telemetry.open == 1
            stage.wall_ms += 1
            stage.time_passes(1)
            if chosen:
                assert b"virtual_key_expired" in await client.until(b"0\r\n\r\n")
                assert await provider.closed()
                assert (await stage.settled()).outcome == "cut"
            else:
                await provider.send(b"7\r\n: more\n\r\n")
                await client.until(b": more")

    play(scene())


def test_a_key_that_was_extended_in_mid_stream_goes_on():
    async def scene() -> None:
        async with Stage() as stage:
            organization = stage.configuration.snapshot.organizations["org_1"]
            stage.configuration.change(replace(organization, cut_on_expiry=True), expiring(stage, "key"))
            client, provider = await stream(stage, token=TOKEN)
            key = stage.configuration.snapshot.keys["vk_1"]
            stage.configuration.change(replace(key, expires_at_ms=stage.wall_ms + 10 * IN_MS))
            stage.wall_ms += 2 * IN_MS
            stage.time_passes(1)
            await provider.send(b"7\r\n: more\n\r\n")
            await client.until(b": more")

    play(scene())
