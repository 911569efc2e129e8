"""What the simulator was asked and what it really sent: the provider's side of every comparison."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

KEPT_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class Recorded:
    """One request. `usage` is in the ledger's unit names; `usage_sent` says whether its final figures reached the wire.

    `ended`: open, complete, cut, truncated, error (a native error was the answer), error_event, client_gone.
    """

    number: int
    connection: int
    method: str
    target: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    at: float = field(default_factory=time.time)
    vendor: str = ""
    dialect: str = ""
    operation: str = ""
    prefix: str = ""
    model: str = ""
    stream: bool = False
    prompt: str = ""
    turn: int = 0
    tools: list[str] = field(default_factory=list)
    credential: str = ""
    status: int = 0
    response_headers: list[tuple[str, str]] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)
    usage_sent: bool = False
    service_tier: str = ""
    events_sent: int = 0
    output_chars_sent: int = 0
    sent: bytearray = field(default_factory=bytearray)
    sent_bytes: int = 0
    ended: str = "open"
    body_sha256: str = ""
    body_bytes: int = 0
    virtual_key_seen: bool = False
    digest: Any = field(default_factory=hashlib.sha256)

    @property
    def request_id(self) -> str:
        """Also in the answer's own headers (`request-id` or `x-request-id`), so that a client can find its record."""
        return f"req_sim{self.number:010d}"

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def sent_sha256(self) -> str:
        """Of the response body without transfer coding: what reaches a client byte for byte."""
        return str(self.digest.hexdigest())

    def put(self, data: bytes) -> None:
        """Body bytes that were handed to the connection."""
        self.digest.update(data)
        self.sent_bytes += len(data)
        if len(self.sent) < KEPT_BYTES:
            self.sent += data

    def facts(self) -> dict[str, Any]:
        """As JSON, bodies left out."""
        names = [name for name in self.__dataclass_fields__ if name not in ("body", "sent", "digest")]
        return {name: getattr(self, name) for name in names} | {
            "request_id": self.request_id,
            "sent_sha256": self.sent_sha256,
        }
