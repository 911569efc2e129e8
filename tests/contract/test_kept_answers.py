"""Background jobs through real pods: charged once, by whoever polls, whatever was killed meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.contract.house import House, eventually
from tests.contract.storms import token_of

pytestmark = pytest.mark.processes

MODEL = "gpt-4.1"
USAGE = {"input_tokens": 5_000, "output_tokens": 3_000, "total_tokens": 8_000}
COST = 5_000 * 2_000 + 3_000 * 8_000  # $2 and $8 a million


class Jobs(BaseHTTPRequestHandler):
    """Accepts jobs, and has them done as soon as somebody asks."""

    protocol_version = "HTTP/1.1"
    accepted = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        type(self).accepted += 1
        self._say({"id": f"resp_{self.accepted}", "status": "queued", "usage": None})

    def do_GET(self) -> None:
        self._say({"id": "another", "status": "completed", "usage": USAGE})  # the id that was asked for counts

    def _say(self, more: dict[str, Any]) -> None:
        body = json.dumps({"object": "response", "model": MODEL, "output": [], **more}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def provider_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Jobs)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_a_job_is_charged_once_by_whichever_key_and_pod_polls_after_kills(
    build_house: Callable[..., House], provider_url: str
) -> None:
    house = build_house(pods=2)
    with house.api() as api:
        [openai] = [row for row in api.get("providers").json()["data"] if row["name"] == "openai"]
        change = {"base_url": provider_url, "credential": "sk-jobs-0123456789"}
        answer = api.patch(f"providers/{openai['id']}", json=change)
        assert answer.status_code == 200, answer.text
    starter, poller = token_of(house.mint()), token_of(house.mint())

    def started() -> dict[str, Any] | None:
        """Once both pods know the key and the provider's new address."""
        with house.gateway(0, starter) as client:
            answer = client.post("/v1/responses", json={"model": MODEL, "input": "think", "background": True})
        if answer.status_code != 200 or answer.json()["status"] != "queued":
            return None
        return {"id": answer.json()["id"], "request": answer.headers["x-langwatch-request-id"]}

    def polled(index: int, job: str) -> bool:
        with house.gateway(index, poller) as client:
            answer = client.get(f"/v1/responses/{job}")
        return answer.status_code == 200 and answer.json().get("usage") == USAGE

    job = eventually("the provider takes the job", started)
    [held] = eventually("the job is booked", lambda: house.booked(job["request"]))
    assert (held["source"], held["why"], held["unconfirmed"]) == ("held", "runs_on", True)
    assert held["cost_nano"] > 0

    pod = house.pods[0].name
    house.kill(pod)
    house.kill("fleet")
    house.revive("fleet")
    house.revive(pod)
    house.await_ready(0)
    house.await_ready(1)
    for index in (1, 0, 1):
        eventually("the job is polled", partial(polled, index, job["id"]))

    def costs() -> list[dict[str, Any]] | None:
        rows = house.usage(request_id=job["request"])
        return rows if len(rows) == 2 else None

    rows = eventually("its figures are booked", costs)
    assert sum(row["cost_nano"] for row in rows) == COST
    assert {row["state"] for row in rows} == {"corrected", "final"}
    assert not any(row["unconfirmed"] for row in rows)
    # Later polls have been booked, and changed nothing.
    polls = "responses_stored"
    eventually("all polls are booked", lambda: sum(row["operation"] == polls for row in house.usage()) >= 3)
    assert sum(row["cost_nano"] for row in house.usage(request_id=job["request"])) == COST
