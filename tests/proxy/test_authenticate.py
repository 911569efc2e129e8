"""Who may come in: where the key may stand, what its holder is told, and when this pod must not judge."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from dataplane.core.snapshot import KeyState
from tests.core import build
from tests.proxy.stage import ANSWER, MESSAGE, TOKEN, Response, Stage, answer, get, mint, play, post, virtual_key

OTHER_TOKEN, _ = mint(2)
OTHER = virtual_key(OTHER_TOKEN, "vk_2")


async def ask(stage: Stage, raw: bytes) -> Response:
    client = await stage.client()
    await client.send(raw)
    return await client.response()


def code(response: Response) -> str:
    return str(json.loads(response.body)["error"]["code"])


PLACES = {
    "bearer": {"Authorization": f"Bearer {TOKEN}"},
    "bearer in another casing": {"authorization": f"bEaReR {TOKEN}"},
    "x-api-key": {"x-api-key": TOKEN},
    "api-key": {"Api-Key": TOKEN},
    "x-goog-api-key": {"X-Goog-Api-Key": TOKEN},
    "with white space behind": {"x-api-key": TOKEN + "  "},
    "two that are equal": {"Authorization": f"Bearer {TOKEN}", "x-goog-api-key": TOKEN},
    "beside one that is not ours": {"Authorization": "Bearer sk-ant-oat01-somebody-elses", "x-api-key": TOKEN},
}


@pytest.mark.parametrize("headers", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(
    "path", ["/v1/messages", "/v1/chat/completions", "/v1beta/models/gemini-2.5-pro:generateContent"]
)
def test_a_key_may_stand_in_any_place_on_any_route_and_goes_no_further(headers: dict[str, str], path: str):
    body = {"/v1/chat/completions": b'{"model":"gpt-4.1","messages":[]}'}.get(path, MESSAGE)

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(post(path, body, token=None, headers=headers))
            provider = await stage.provider()
            line, got, _ = await provider.request()
            everything = (line.decode() + repr(got)).lower()
            assert TOKEN.lower() not in everything
            assert "somebody-elses" not in everything
            assert "providers-own-secret" in everything
            await provider.send(answer(b"{}"))
            assert (await client.response()).status == 200

    play(scene())


def test_a_key_may_stand_in_the_query_and_is_taken_out_of_it():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            path = f"/v1beta/models/gemini-2.5-pro:streamGenerateContent?key={TOKEN}&alt=sse"
            await client.send(post(path, b'{"contents":[]}', token=None))
            provider = await stage.provider()
            line, got, _ = await provider.request()
            assert line == b"POST /v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse HTTP/1.1"
            assert TOKEN not in repr(got)
            await provider.send(answer(b"{}"))
            assert (await client.response()).status == 200

    play(scene())


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}", "x-api-key": OTHER_TOKEN},
        {"x-api-key": TOKEN, "X-Goog-Api-Key": OTHER_TOKEN},
    ],
)
def test_two_different_keys_are_a_conflict(headers: dict[str, str]):
    async def scene() -> None:
        async with Stage(rows=(OTHER,)) as stage:
            response = await ask(stage, post("/v1/messages", MESSAGE, token=None, headers=headers))
            assert (response.status, code(response)) == (400, "conflicting_api_keys")
            assert stage.nobody_called()

    play(scene())


def test_without_a_key_the_words_say_where_to_put_one():
    async def scene() -> None:
        async with Stage() as stage:
            response = await ask(stage, post("/v1/chat/completions", MESSAGE, token=None))
            error = json.loads(response.body)["error"]
            assert response.status == 401
            assert error["message"] == "missing API key; supply Authorization: Bearer lw_vk_... or x-api-key"
            assert (error["type"], error["code"]) == ("invalid_api_key", "missing_api_key")
            assert response.headers["x-should-retry"] == "false"
            record = await stage.settled()
            assert (record.outcome, record.key_id, record.refusal_code) == ("refused", "", "missing_api_key")
            assert stage.journal.settled == []

    play(scene())


def test_malformed_unknown_and_wrong_keys_get_the_same_answer():
    wrong_secret = mint(1)[0][:-8] + mint(3)[0][-8:]

    async def scene() -> None:
        async with Stage() as stage:
            bodies = set()
            for token in (
                "lw_vk_live_x",
                "sk-ant-api03-real",
                wrong_secret,
                mint(4)[0],
                "é",
                "lw_vk_live_" + "0" * 5000,
            ):
                response = await ask(stage, post("/v1/messages", MESSAGE, token=token))
                assert response.status == 401
                shown = json.loads(response.body)
                shown["request_id"] = ""
                bodies.add(json.dumps(shown))
            assert len(bodies) == 1
            assert stage.journal.settled == []

    play(scene())


def test_a_key_minted_a_moment_ago_works_at_once():
    async def scene() -> None:
        async with Stage() as stage:
            stage.configuration.known_above[OTHER.public_id] = OTHER
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE, token=OTHER_TOKEN))
            await provider.send(answer(ANSWER))
            assert (await client.response()).status == 200
            record = await stage.settled()
            assert (record.key_id, record.revision) == ("vk_2", 2)
            assert stage.configuration.asked == [OTHER.public_id]

    play(scene())


def test_a_key_that_cannot_be_asked_about_is_503_and_never_401():
    async def scene() -> None:
        async with Stage() as stage:
            stage.configuration.contact = False
            response = await ask(stage, post("/v1/messages", MESSAGE, token=OTHER_TOKEN))
            assert (response.status, code(response)) == (503, "no_configuration")
            assert int(response.headers["retry-after"]) > 0

    play(scene())


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"state": KeyState.REVOKED}, "virtual_key_revoked"),
        ({"state": KeyState.DISABLED}, "virtual_key_disabled"),
        ({"expires_at_ms": 1_767_225_599_999}, "virtual_key_expired"),
    ],
)
def test_a_key_that_stopped_is_401_with_the_words_and_one_record(change, wanted):
    async def scene() -> None:
        async with Stage() as stage:
            stage.configuration.change(replace(virtual_key(), revision=9, **change))
            response = await ask(stage, post("/v1/messages", MESSAGE))
            assert (response.status, code(response)) == (401, wanted)
            assert stage.nobody_called()

    play(scene())


def test_a_pod_that_knows_too_little_refuses_and_says_so_in_readyz():
    async def scene() -> None:
        async with Stage() as stage:
            stage.configuration.age_ms = 45_001
            response = await ask(stage, post("/v1/messages", MESSAGE))
            assert (response.status, code(response)) == (503, "configuration_stale")
            assert response.headers["retry-after"] == "5"
            assert (await ask(stage, get("/readyz", token=None))).status == 503
            assert (await ask(stage, get("/healthz", token=None))).status == 200
            stage.configuration.age_ms = 0
            assert (await ask(stage, get("/readyz", token=None))).status == 200

    play(scene())


def test_an_organization_may_choose_a_longer_bound():
    async def scene() -> None:
        async with Stage() as stage:
            stage.configuration.change(
                build.organization(price_list_id="price_1", freshness_bound_ms=900_000, revision=2)
            )
            stage.configuration.age_ms = 800_000
            client = await stage.client()
            provider = await stage.asked(client, post("/v1/messages", MESSAGE))
            await provider.send(answer(ANSWER))
            assert (await client.response()).status == 200

    play(scene())


def test_a_full_spool_stops_admission_before_the_provider_is_reached():
    async def scene() -> None:
        async with Stage() as stage:
            stage.journal.full = True
            response = await ask(stage, post("/v1/messages", MESSAGE))
            assert (response.status, code(response)) == (503, "spool_full")
            assert stage.nobody_called()
            record = await stage.settled()
            assert (record.outcome, record.key_id) == ("refused", "vk_1")

    play(scene())


def test_a_key_revoked_while_its_body_was_coming_is_refused_before_connecting():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            raw = post("/v1/messages", MESSAGE)
            await client.send(raw[:-10])
            await stage.eventually(lambda: stage.telemetry.open == 1)
            await asyncio.sleep(0.01)
            stage.configuration.stop("vk_1", KeyState.DISABLED, cut=False)
            await client.send(raw[-10:])
            response = await client.response()
            assert (response.status, code(response)) == (401, "virtual_key_disabled")
            assert stage.nobody_called()
            assert stage.journal.admitted == []

    play(scene())


def test_who_asks_is_on_the_record():
    async def scene() -> None:
        async with Stage() as stage:
            stage.configuration.change(replace(virtual_key(), tags=("team-a",), revision=9))
            client = await stage.client()
            headers = {
                "X-Langwatch-Tags": " blue, green ,,",
                "X-Langwatch-Metadata": '{"ticket": "ABC-1"}',
                "X-Langwatch-End-User-Id": "user-7",
                "X-Claude-Code-Session-Id": "0b1c",
                "User-Agent": "claude-cli/2.1.330 (external, cli)",
            }
            await client.send(post("/v1/messages", MESSAGE, headers=headers))
            provider = await stage.provider()
            _, got, _ = await provider.request()
            assert not [name for name in got if name.startswith("x-langwatch")]
            assert got["x-claude-code-session-id"] == "0b1c"
            await provider.send(answer(ANSWER, extra="request-id: req_theirs\r\n"))
            await client.response()
            record = await stage.settled()
            assert record.tags == ("team-a", "blue", "green")
            assert record.metadata == '{"ticket": "ABC-1"}'
            assert (record.end_user_id, record.session) == ("user-7", "0b1c")
            assert (record.client, record.client_version) == ("claude_code", "2.1.330")
            assert (record.organization_id, record.team_id, record.project_id) == ("org_1", "team_1", "proj_1")
            assert (record.principal_id, record.key_id, record.provider_id) == ("prin_1", "vk_1", "prov_anthropic")
            assert (record.dialect, record.operation, record.provider_kind) == (
                "anthropic_messages",
                "messages",
                "anthropic",
            )
            assert record.model_reported == "claude-sonnet-4-5-20250929"
            assert record.provider_request_id == "req_theirs"
            assert (record.request_bytes, record.response_bytes) == (len(MESSAGE), len(ANSWER))
            assert stage.journal.admitted[0].request_id == record.request_id

    play(scene())


@pytest.mark.parametrize("metadata", ["[1]", "{", '"text"', '{"a":"' + "x" * 5000 + '"}', "[" * 3000])
def test_metadata_that_cannot_be_kept_is_refused(metadata: str):
    async def scene() -> None:
        async with Stage() as stage:
            response = await ask(stage, post("/v1/messages", MESSAGE, headers={"X-Langwatch-Metadata": metadata}))
            assert (response.status, code(response)) == (400, "bad_request")
            assert (await stage.settled()).key_id == "vk_1"

    play(scene())


def test_a_thousand_odd_credentials_are_all_401():
    import random

    dice = random.Random(5)
    alphabet = [chr(c) for c in range(0x20, 0x7F)] + ["'", '"', "%", "é", "\\"]

    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            for _ in range(1_000):
                token = "".join(dice.choice(alphabet) for _ in range(dice.randrange(1, 80))).strip() or "x"
                await client.send(post("/v1/messages", MESSAGE, token=token))
                assert (await client.response()).status == 401

    play(scene())
