"""A pod that lies, with a certificate of this fleet: it changes nothing of what others have, and they go on."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import grpc
import pytest

from controlplane.fleet import pki
from protos import fleet_pb2 as wire
from tests.contract.house import House, eventually, open_house
from tests.contract.requests import ask
from tests.contract.storms import DOLLAR, MODEL, budget_of, token_of
from tests.hostile.pod import ABSURD, ADMITTED, FINAL, UNFIT, Liar, answers

pytestmark = [pytest.mark.processes, pytest.mark.slow]

SLOW = {"x-sim-text-bytes": "3000", "x-sim-delta-chars": "100", "x-sim-interval-ms": "100"}
ASKED = ask("anthropic_messages", streaming=True, model=MODEL)
WHOLE = ask("anthropic_messages", streaming=False, model=MODEL)
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    opened = open_house(tmp_path_factory.mktemp("hostile"), pods=1)
    yield opened
    opened.close()


@pytest.fixture
def liar(house: House) -> Iterator[Liar]:
    authority = pki.Issued((house.pki / "ca.pem").read_bytes(), (house.pki / "ca.key").read_bytes())
    issued = pki.issue_pod(authority, "mallory", dt.datetime.now(dt.UTC))
    credentials = grpc.ssl_channel_credentials(authority.certificate, issued.key, issued.certificate)
    with grpc.secure_channel(f"localhost:{house.layout.fleet_port}", credentials) as channel:
        yield Liar(channel)


def rows(house: House, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(house.var / "aigateway.sqlite3")) as database:
        return database.execute(query).fetchall()


def settled(house: House, budget: dict[str, Any]) -> int:
    with house.api() as api:
        accounts = api.get("budget-accounts", params={"budget_id": budget["id"]}).json()["data"]
    return sum(int(account["settled_nano"]) for account in accounts)


def letters(house: House) -> int:
    return int(rows(house, "SELECT count(*) FROM usage_deadletter")[0][0])


def test_lies_about_money_and_requests_are_put_aside_and_an_honest_pod_notices_nothing(
    house: House, liar: Liar
) -> None:
    key = house.mint()
    budget = budget_of(house, key, limit=100 * DOLLAR)
    token = token_of(key)
    knows = house.gateway(0, token)
    eventually("the pod knows the budget", lambda: knows.get("/v1/budget").json().get("data"))
    with house.gateway(0, token) as client:
        assert client.post(WHOLE.path, content=WHOLE.body, headers=JSON).status_code == 200
        with client.stream("POST", ASKED.path, content=ASKED.body, headers=JSON | SLOW) as stream:
            request_id = stream.headers["x-langwatch-request-id"]
            chunks = stream.iter_bytes()
            next(chunks)
            admitted = (
                f"SELECT session_id, accounts, hold_session FROM usage_usagerecord WHERE request_id = '{request_id}'"
            )
            ((spool, accounts, leases),) = eventually("it is known", lambda: rows(house, admitted))
            before = settled(house, budget)
            lies(house, liar, key, json.loads(accounts), request_id, spool, leases)
            assert settled(house, budget) == before
            content = b"".join(chunks)
        assert b"message_stop" in content
        assert client.post(WHOLE.path, content=WHOLE.body, headers=JSON).status_code == 200
    (record,) = eventually("the stream is booked", lambda: house.booked(request_id))
    assert int(record["cost_nano"]) > 0
    eventually("all is settled", lambda: settled(house, budget) > before + int(record["cost_nano"]))
    gaps = rows(house, f"SELECT missing, identity FROM usage_reportsession WHERE session_id = '{spool}'")
    assert gaps == [(0, str(house.layout.pod_ports[0]))]
    assert letters(house) > 0


def lies(
    house: House, liar: Liar, key: dict[str, Any], accounts: list[list[str]], request_id: str, spool: str, leases: str
) -> None:
    """Each is acknowledged or not taken, none is settled."""
    drawn = [
        wire.AccountRef(budget_id=budget, member_id=member, window_key=window) for budget, member, window in accounts
    ]
    said: dict[str, Any] = {
        "status": FINAL, "started_at_ms": int(dt.datetime.now(dt.UTC).timestamp() * 1000), "accounts": drawn,
        "organization_id": house.report["organization_id"], "project_id": house.report["project_id"],
        "key_id": key.get("virtual_key", key)["id"], "outcome": "ok", "cost_nano": 5 * DOLLAR,
    }  # fmt: skip
    hello = wire.HoldHello(pod_id="liar", session_id="liar-leases")
    liar.hold(wire.HoldUp(hello=hello))

    def tell(number: int, **fields: Any) -> wire.UsageAck:
        record = wire.UsageRecord(**(said | {"request_id": f"req_lie_{number}"} | fields))
        return liar.report(record, session="liar-spool", first=number)

    tricks: list[dict[str, Any]] = [
        {},  # no lease at all
        {"hold_session": "liar-leases"},  # nothing was granted to it
        {"hold_session": "liar-leases", "reserved_nano": 5 * DOLLAR},
        {"hold_session": leases},  # another pod's
        {"cost_nano": 3 * 2**61},
        {"cost_nano": 1, "request_id": request_id},  # another pod's request
        {"cost_nano": 0, "request_id": request_id},
        {"organization_id": "org_nobody"},
        {"status": ADMITTED, "hold_session": leases, "reserved_nano": 7 * DOLLAR},
    ]
    for number, trick in enumerate(tricks, 1):
        ack = tell(number, **trick)
        assert (ack.through_seq, len(ack.dead_lettered)) == (number, 1), trick
    absurd = [*answers(40, ABSURD + UNFIT, **said | {"accounts": [], "cost_nano": 0})]
    assert liar.report(*absurd, session="liar-spool", first=10).through_seq == 49
    # Into the spool of a pod that lives.
    record = wire.UsageRecord(**(said | {"request_id": "req_lie_spool"}))
    assert liar.report(record, session=spool, first=900_000).through_seq == 0
    # Money that it has of no account, and others' requests that it says have grown.
    said_of = [wire.AccountReport(account=ref, free_nano=2**62, live_nano=2**62, want_nano=2**62) for ref in drawn]
    grown = [wire.LiveHold(request_id=request_id, reserved_nano=2**62)]
    report = wire.HoldReport(seq=1, accounts=said_of, grown=grown)
    assert liar.hold(wire.HoldUp(hello=hello), wire.HoldUp(reports=[report]))[1].report_acks[0].seq == 1
    assert rows(house, f"SELECT count(*) FROM usage_usagerecord WHERE reserved_nano > {1000 * DOLLAR}") == [(0,)]
    with pytest.raises(grpc.RpcError, match="belongs to another pod"):
        liar.hold(wire.HoldUp(hello=wire.HoldHello(pod_id="liar", session_id=leases)))
