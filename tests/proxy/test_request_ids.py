"""A client's own name for its request comes back to it; ours stands where SDKs look for it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.keys import MARK
from dataplane.proxy.client.identity import clients_id
from tests.proxy.stage import ANSWER, MESSAGE, TOKEN, Response, Stage, answer, get, play, post

OURS = re.compile(r"req_[0-9a-f]{30}")


def exchanged(raw: bytes, reply: bytes = b"") -> tuple[Response, dict[str, str]]:
    """What the client got, and the fields that the provider got (none: it was not asked)."""

    async def scene() -> Any:
        async with Stage() as stage:
            client = await stage.client()
            await client.send(raw)
            got: dict[str, str] = {}
            if reply:
                provider = await stage.provider()
                _, got, _ = await provider.request()
                await provider.send(reply)
            return await client.response(raw.split(b" ")[0].decode()), got

    found: tuple[Response, dict[str, str]] = play(scene())
    return found


@pytest.mark.parametrize("name", ["X-Request-Id", "x-request-id", "X-REQUEST-ID"])
def test_a_forwarded_answer_repeats_the_clients_id_beside_ours(name: str):
    response, got = exchanged(post("/v1/messages", MESSAGE, headers={name: "mine-7"}), answer(ANSWER))
    assert response.headers["x-request-id"] == "mine-7"
    assert OURS.fullmatch(response.headers["x-langwatch-request-id"])
    assert got["x-request-id"] == "mine-7", "it goes to the provider as every header does"


def test_the_providers_own_id_is_not_replaced():
    raw = post("/v1/messages", MESSAGE, headers={"X-Request-Id": "mine-7"})
    response, _ = exchanged(raw, answer(ANSWER, extra="x-request-id: theirs\r\nrequest-id: theirs-2\r\n"))
    assert (response.headers["x-request-id"], response.headers["request-id"]) == ("theirs", "theirs-2")


def test_an_answer_to_a_client_that_sent_none_has_only_the_providers():
    response, _ = exchanged(post("/v1/messages", MESSAGE), answer(ANSWER))
    assert "x-request-id" not in response.headers
    assert "request-id" not in response.headers


@pytest.mark.parametrize(
    "raw",
    [
        post("/v1/messages", MESSAGE, token="nonsense"),
        post("/v1/messages", b"not json"),
        post("/v1/v1/messages", MESSAGE),
        post("/v1/chat/completions", b'{"model":"nope","messages":[]}'),
        get("/v1/models"),
        get("/nowhere"),
    ],
)
def test_what_we_say_ourselves_carries_our_id_where_sdks_look_for_it(raw: bytes):
    response, _ = exchanged(raw)
    ours = response.headers["x-langwatch-request-id"]
    assert (response.headers["request-id"], response.headers["x-request-id"]) == (ours, ours)
    if response.status >= 400:
        assert json.loads(response.body)["request_id"] == ours


def test_a_refusal_repeats_the_clients_id_and_keeps_ours():
    response, _ = exchanged(post("/v1/messages", MESSAGE, token="nonsense", headers={"X-Request-Id": "mine-7"}))
    assert response.headers["x-request-id"] == "mine-7"
    assert response.headers["request-id"] == response.headers["x-langwatch-request-id"]
    assert json.loads(response.body)["request_id"] == response.headers["x-langwatch-request-id"]


def test_the_record_never_takes_the_clients_id():
    async def scene() -> None:
        async with Stage() as stage:
            client = await stage.client()
            for number in range(2):  # also for a head that is remembered
                await client.send(post("/v1/messages", MESSAGE, headers={"X-Request-Id": "req_" + "0" * 30}))
                if not number:
                    provider = await stage.provider()
                await provider.request()
                await provider.send(answer(ANSWER))
                assert (await client.response()).headers["x-request-id"] == "req_" + "0" * 30
            ids = {record.request_id for record in stage.telemetry.records}
            assert len(ids) == 2
            assert "req_" + "0" * 30 not in ids

    play(scene())


@pytest.mark.parametrize("said", ["", "a b", "x" * 129, "caf\u00e9", "a\tb", 'a"b', "<script>", "a;b", TOKEN])
def test_what_cannot_be_an_id_is_not_repeated(said: str):
    response, _ = exchanged(post("/v1/messages", MESSAGE, headers={"X-Request-Id": said}), answer(ANSWER))
    assert response.status == 200
    assert "x-request-id" not in response.headers


@given(st.binary(max_size=200))
def test_an_id_that_is_repeated_cannot_end_its_line(said: bytes):
    found = clients_id(said)
    assert found in (said, b"")
    assert len(found) <= 128
    assert not set(found) & set(b"\r\n\0 \t")
    assert MARK not in found.lower()
