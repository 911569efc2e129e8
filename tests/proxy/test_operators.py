"""What strangers see of a pod: that it lives, and which version; its particulars are for those who run it."""

from __future__ import annotations

import ipaddress
import json

import pytest

from dataplane.proxy.operators import is_operator
from tests.proxy.stage import Response, Stage, get, play

NETWORKS = tuple(ipaddress.ip_network(text) for text in ("127.0.0.0/8", "::1/128", "10.2.0.0/16"))
ELSEWHERE = {"operators": (ipaddress.ip_network("192.0.2.0/24"),)}
PARTICULARS = {"phase", "uptime_s", "revision", "open_exchanges", "connections"}


def said(path: str, *, headers: dict[str, str] | None = None, **stage: object) -> Response:
    async def scene() -> Response:
        async with Stage(**stage) as playing:  # type: ignore[arg-type]
            client = await playing.client()
            await client.send(get(path, token=None, headers=headers))
            return await client.response("GET")

    response: Response = play(scene())
    return response


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "10.2.3.4", "::ffff:127.0.0.1", "::ffff:10.2.0.1"])
def test_operators_are_told_by_their_network(peer: str):
    assert is_operator(peer, {}, NETWORKS)


@pytest.mark.parametrize("peer", ["10.3.0.1", "203.0.113.9", "::2", "fe80::1%eth0", "::ffff:8.8.8.8", "", "unix"])
def test_everybody_else_is_a_stranger(peer: str):
    assert not is_operator(peer, {}, NETWORKS)


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via"])
def test_what_a_proxy_passed_on_comes_from_a_stranger(name: bytes):
    assert not is_operator("127.0.0.1", {name: b"127.0.0.1"}, NETWORKS)


@pytest.mark.parametrize(
    "who",
    [
        {"limits": ELSEWHERE},
        {"headers": {"X-Forwarded-For": "203.0.113.9"}},
        {"headers": {"X-Forwarded-Proto": "https"}},
    ],
)
def test_strangers_see_no_particulars(who: dict[str, dict[str, object]]):
    assert json.loads(said("/health", **who).body) == {"status": "ok", "version": "9.9.9"}  # type: ignore[arg-type]
    for path in ("/readyz", "/startupz"):
        assert set(json.loads(said(path, **who).body)) == {"status", "version", "checks"}  # type: ignore[arg-type]
    assert set(json.loads(said("/healthz", **who).body)) == {"status", "version", "uptime_s"}  # type: ignore[arg-type]
    refused = said("/metrics", **who)  # type: ignore[arg-type]
    assert refused.status == 404
    assert b"open_exchanges" not in refused.body
    assert "AIGATEWAY_OPERATORS" in json.loads(refused.body)["error"]["message"]


def test_operators_see_them():
    assert set(json.loads(said("/health").body)) > PARTICULARS
    assert json.loads(said("/readyz").body)["phase"] == "serving"
    assert b"open_exchanges" in said("/metrics").body


def test_the_front_door_says_nothing_that_differs_from_pod_to_pod():
    assert said("/", limits=ELSEWHERE).body == said("/").body
