"""The database is silent: its connections are dead and nobody says so, new ones are swallowed, its host hangs. Every
process lets go of what is dead and serves again by itself; meanwhile people and programs are answered in words."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

import httpx
import psycopg
import pytest

from tests.contract.conftest import fresh_database
from tests.contract.faults import FaultyLink, Mode
from tests.contract.house import House, eventually
from tests.contract.requests import ask, send
from tests.postgres import Server, own_server

pytestmark = [pytest.mark.processes, pytest.mark.slow]

AGAIN_S = 30.0  # the promise: so soon everybody serves again
PODS = 2
COOKIE = {"Cookie": "aigateway_session=abcdefghijklmnopqrstuvwxyz012345"}


@pytest.fixture
def server() -> Iterator[Server]:
    """One that only this test uses, and stops."""
    with own_server() as own:
        yield own


@pytest.fixture
def link(server: Server) -> Iterator[FaultyLink]:
    opened = FaultyLink(server.socket)
    yield opened
    opened.close()


@contextmanager
def web_client(house: House) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=house.layout.web_url, trust_env=False, timeout=60.0) as client:
        yield client


def serves_whole(house: House) -> bool:
    """REST mints a key, and every pod serves it: web, fleet and pods, there and back."""
    with contextlib.suppress(httpx.HTTPError), house.api() as api:
        body = {"name": "probe", "project_id": house.report["project_id"]}
        minted = api.post("virtual-keys", json=body, headers={"Idempotency-Key": secrets.token_hex(16)})
        if minted.status_code != 201:
            return False
        token = minted.json()["token"]
        return all(pod_serves(house, pod, token) for pod in range(PODS))
    return False


def pod_serves(house: House, pod: int, token: str) -> bool:
    with house.gateway(pod, key=token) as client:
        return send(client, ask("anthropic_messages", streaming=False)).status_code == 200


def booked(house: House) -> int:
    return sum(record["state"] == "final" for record in house.usage())


def answers_in_words(house: House) -> None:
    """While the database is away, whoever asks is told so, and when to come again."""
    with web_client(house) as client:
        token = {"Authorization": f"Bearer {house.report['api_token']}"}
        program = client.get("/api/v1/teams", headers=token)
        mint = client.post("/api/v1/virtual-keys", json={}, headers=token | {"Idempotency-Key": "a-key-of-a-test"})
        person = client.get("/admin/", headers=COOKIE)
        login = client.post("/admin/login/", data={"username": "x", "password": "y"}, headers=COOKIE)
        alive = client.get("/healthz", headers=COOKIE)
        ready = client.get("/readyz", headers=COOKIE)
    for answer in (program, mint):
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json"), answer.text
        assert answer.json()["code"] == "database_busy"
    assert person.status_code == 503
    assert "busy or not there" in person.text
    assert login.status_code in (403, 503)  # without a token of the form nothing is looked up
    assert alive.status_code == 200
    assert ready.json() == {"status": "not ready", "because": "The database does not answer."}
    for answer in (program, mint, person, ready):
        assert 1 <= int(answer.headers["Retry-After"]) <= 20


def test_everybody_serves_again_after_the_database_was_silent(
    build_house: Callable[..., House], server: Server, link: FaultyLink
) -> None:
    behind = fresh_database(server.url(), "silent")
    house = build_house(
        pods=PODS, database_url=f"postgresql://aigateway:{quote(server.password)}@127.0.0.1:{link.port}/silent"
    )
    eventually("all serve", lambda: serves_whole(house))

    # Its connections die, some of them with a question under way; nobody says so, and new ones work.
    link.set(Mode.DEAF)
    assert link.swallowed.wait(AGAIN_S), "somebody waits for an answer"
    link.forget()
    assert link.forgotten > 0
    with psycopg.connect(behind) as direct:
        assert direct.execute("SELECT 1").fetchone() == (1,)
    eventually("all serve again", lambda: serves_whole(house), within=AGAIN_S)

    # Nothing gets through, new connections neither.
    link.set(Mode.HOLE)
    answers_in_words(house)
    link.set(Mode.PASS)
    eventually("all serve again", lambda: serves_whole(house), within=AGAIN_S)

    with server.frozen():
        answers_in_words(house)
    eventually("all serve again", lambda: serves_whole(house), within=AGAIN_S)

    with server.away():
        answers_in_words(house)
    eventually("all serve again", lambda: serves_whole(house), within=AGAIN_S)

    eventually("what the pods served is booked", lambda: booked(house) >= 4 * PODS, within=AGAIN_S)
    eventually("nobody holds a dead connection", lambda: link.forgotten == 0)
    assert all(child.alive for child in house.supervisor.children)
    said = dict(house.logs())
    assert "database_silent" in said["fleet.log"]
