"""Receivers on this machine: a mail server; HTTP servers that check as Slack, PagerDuty and a careful webhook do."""

from __future__ import annotations

import hashlib
import hmac
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLACK_PATH = "/services/T0SINK/B0SINK/canarySlackSecret0123456789"
ROUTING_KEY = "c4n4ryR0ut1ngK3y0123456789abcdef"
SIGNING_SECRET = "canary-signing-secret-0123456789abcdefgh"


class Sink(ThreadingHTTPServer):
    """Remembers what it accepted; while `down` is set it answers with that status instead."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.down = 0
        self.headers: dict[str, str] = {}
        self.body = b"ok"
        self.accepted: list[dict[str, Any]] = []
        self.refused: list[tuple[int, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def judge(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        """200 and the kind of receiver, or a status and what was wrong."""
        if path == SLACK_PATH:
            return _like_slack(json.loads(body))
        if path == "/v2/enqueue":
            return _like_pagerduty(json.loads(body))
        return _like_a_careful_webhook(headers, body)

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        return [item["body"] for item in self.accepted if item["kind"] == kind]


def _like_slack(body: dict[str, Any]) -> tuple[int, str]:
    if not isinstance(body.get("text"), str) or not 0 < len(body["blocks"]) <= 50:
        return 400, "invalid_payload"
    for block in body["blocks"]:
        if block["type"] == "section" and "fields" in block:
            fits = 0 < len(block["fields"]) <= 10 and all(len(item["text"]) <= 2000 for item in block["fields"])
        elif block["type"] == "section":
            fits = 0 < len(block["text"]["text"]) <= 3000
        else:
            fits = block["type"] == "context" and 0 < len(block["elements"]) <= 10
        if not fits:
            return 400, "invalid_blocks"
    return 200, "slack"


def _like_pagerduty(body: dict[str, Any]) -> tuple[int, str]:
    if body.get("routing_key") != ROUTING_KEY or body.get("event_action") not in ("trigger", "resolve"):
        return 400, "invalid event"
    if body["event_action"] == "trigger":
        payload = body["payload"]
        if not (0 < len(payload["summary"]) <= 1024 and payload["source"]):
            return 400, "invalid payload"
        if payload["severity"] not in ("critical", "error", "warning", "info"):
            return 400, "invalid severity"
    return (200, "pagerduty") if 0 < len(body.get("dedup_key", "")) <= 255 else (400, "no dedup key")


def _like_a_careful_webhook(headers: dict[str, str], body: bytes) -> tuple[int, str]:
    timestamp = headers.get("x-langwatch-timestamp", "0")
    signed = hmac.new(SIGNING_SECRET.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(headers.get("x-langwatch-signature", ""), f"v1={signed}"):
        return 401, "wrong signature"
    return (200, "webhook") if abs(time.time() - int(timestamp)) < 300 else (401, "stale")


class _Handler(BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.server.down:
            status, kind = self.server.down, "down"
        else:
            status, kind = self.server.judge(self.path, headers, body)
        if status == 200:
            self.server.accepted.append({"kind": kind, "headers": headers, "body": json.loads(body), "path": self.path})
        else:
            self.server.refused.append((status, kind))
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class MailSink(socketserver.ThreadingTCPServer):
    """Speaks as much SMTP as a client needs; `refuse` is what it says instead of taking a message."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _MailHandler)
        self.refuse = ""
        self.messages: list[EmailMessage] = []
        self.recipients: list[list[str]] = []

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class _MailHandler(socketserver.StreamRequestHandler):
    server: MailSink

    def handle(self) -> None:
        self._say("220 sink")
        recipients: list[str] = []
        while line := self.rfile.readline().decode("ascii", "replace").strip():
            match line.upper().split()[0]:
                case "EHLO" | "HELO" | "MAIL" | "RSET" | "NOOP":
                    self._say("250 ok")
                case "RCPT":
                    recipients.append(line.partition(":")[2].strip("<> "))
                    self._say("250 ok")
                case "DATA":
                    if self.server.refuse:
                        self._say(self.server.refuse)
                        continue
                    self._say("354 go on")
                    self.server.messages.append(message_from_bytes(self._data(), policy=policy.default))
                    self.server.recipients.append(recipients)
                    self._say("250 taken")
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("502 what?")

    def _data(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        return b"".join(lines)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
