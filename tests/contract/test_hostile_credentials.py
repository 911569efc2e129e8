"""A provider that repeats what it was shown: the client, the ledger, logs and metrics learn nothing by it."""

from __future__ import annotations

import base64
import gzip
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from tests.contract.house import House, eventually
from tests.contract.test_canary import places

pytestmark = pytest.mark.processes

CREDENTIAL = "sk-canary-77e1c0d94ab8-repeats"


class Repeater(socketserver.StreamRequestHandler):
    """Answers as the header `x-trick` says, with the credential that it was shown and every header that it got."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            fields = {}
            while (header := self.rfile.readline().strip()) != b"":
                name, _, value = header.partition(b":")
                fields[name.decode().lower()] = value.strip().decode()
            self.rfile.read(int(fields.get("content-length", "0")))
            self.answer(line, fields)

    def answer(self, line: bytes, fields: dict[str, str]) -> None:
        key = fields["x-api-key"]
        told = f"{key} {quote(key)} {base64.b64encode(f'u:{key}'.encode()).decode()} {json.dumps(fields)}"
        error = json.dumps({"type": "error", "error": {"type": "api_error", "message": told}}).encode()
        event = b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'
        trick = fields.get("x-trick", "")
        status, kind, extra, body = "500 Oops", "application/json", "", error
        if trick == "gzip":
            extra, body = "Content-Encoding: gzip\r\n", gzip.compress(error)
        elif trick == "event":
            status, kind, body = "200 OK", "text/event-stream", event * 5 + b"event: error\ndata: " + error + b"\n\n"
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}request-id: {key}\r\n"
        self.wfile.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for at in range(0, len(body), 40):
            piece = body[at : at + 40]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def repeater() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Repeater) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_credential_that_its_provider_repeats_stays_where_it_is(
    build_house: Callable[..., House], repeater: str
) -> None:
    house = build_house(
        pods=1,
        settings={"ANTHROPIC_API_KEY": CREDENTIAL, "DEMO_ANTHROPIC_BASE_URL": repeater},
        pod_settings={"AIGATEWAY_LOG_LEVEL": "DEBUG"},
    )
    with house.api() as api:
        (provider,) = [row for row in api.get("providers").json()["data"] if row["name"] == "anthropic"]
        account = {"account_headers": {"anthropic-workspace-id": "wrkspc_row"}}
        assert api.patch(f"providers/{provider['id']}", json=account).status_code == 200
    asked = {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    theirs = {"anthropic-workspace-id": "wrkspc_clients", "cf-connecting-ip": "192.0.2.7", "X_Api_Key": "smuggled"}
    spellings = [CREDENTIAL, base64.b64encode(f"u:{CREDENTIAL}".encode()).decode()[4:-6]]

    def answer(trick: str) -> str:
        with house.gateway() as client:
            response = client.post(
                "/v1/messages", json=asked | {"stream": trick == "event"}, headers={"x-trick": trick, **theirs}
            )
        assert response.status_code == (200 if trick == "event" else 500)
        assert not [name for name in response.headers if CREDENTIAL in response.headers[name]]
        return response.text

    eventually("the account's header is live", lambda: "wrkspc_row" in answer("plain"))
    for trick in ("plain", "gzip", "event"):
        text = answer(trick)
        assert "[redacted]" in text
        assert "wrkspc_row" in text
        for word in (*spellings, *theirs.values()):
            assert word not in text, trick
    eventually("they are booked", lambda: len(house.usage()) >= 3)
    for place, content in places(house):
        assert not [word for word in spellings if word.encode() in content], place
    assert "credential_echoes_total" in house.metrics()
