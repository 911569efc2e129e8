"""Any HTTP receiver, by a signed POST.

Headers: `X-Langwatch-Event` (`alert.triggered`, `alert.resolved`, `alert.test`), `X-Langwatch-Delivery` (the same at
every try: what was seen before may be ignored), `X-Langwatch-Timestamp` (Unix seconds of this try),
`X-Langwatch-Signature`: `v1=` and the hexadecimal HMAC-SHA256, under the channel's secret, of timestamp, a dot and the
body as it came. A receiver compares in constant time and refuses timestamps more than five minutes away.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time

from django.core.exceptions import ValidationError

from controlplane.alerts.channels.channel import DeliveryOutcome, Destination, Event, checked_url, judged, post
from controlplane.providers.gate import Answer
from dataplane.core.secret import Secret

SHORTEST_SECRET, LONGEST_SECRET = 32, 256  # bytes
# Receivers are somebody's program: it may be mended. 410 alone says that it is meant.
FINAL = frozenset({410})


class Webhook:
    kind = "webhook"
    help = (
        "A JSON POST. X-Langwatch-Signature is v1= and the hex HMAC-SHA256, under the secret, of "
        "X-Langwatch-Timestamp, a dot and the body; X-Langwatch-Delivery is the same at every try."
    )
    address_label = "URL"
    default_address = ""
    secret_label = "Signing secret"  # noqa: S105 - a label
    says_resolved = True

    def check_address(self, address: str) -> str:
        return str(checked_url(address, "address"))

    def check_secret(self, secret: Secret) -> Secret:
        size = len(secret.reveal())
        if not SHORTEST_SECRET <= size <= LONGEST_SECRET:
            raise ValidationError(
                {
                    "secret": f"The signing secret has {size} bytes; give {SHORTEST_SECRET} to {LONGEST_SECRET} random "
                    "ones, such as what `openssl rand -hex 32` prints."
                }
            )
        return secret

    def deliver(self, event: Event, destination: Destination) -> DeliveryOutcome:
        timestamp, content = str(int(time.time())), _content(event)
        headers = {
            "content-type": "application/json",
            "x-langwatch-event": f"alert.{event.what}",
            "x-langwatch-delivery": event.id,
            "x-langwatch-timestamp": timestamp,
            "x-langwatch-signature": signature(destination.secret, timestamp, content),
        }
        secrets = (destination.secret.reveal().decode("utf-8", errors="replace"), headers["x-langwatch-signature"])
        answer = post(destination.address, content, headers, secrets=secrets)
        return judged(answer, final=FINAL) if isinstance(answer, Answer) else answer


def signature(secret: Secret, timestamp: str, content: bytes) -> str:
    return "v1=" + hmac.new(secret.reveal(), timestamp.encode() + b"." + content, hashlib.sha256).hexdigest()


def _content(event: Event) -> bytes:
    body = {
        "id": event.id,
        "type": f"alert.{event.what}",
        "dedup_key": event.dedup_key,
        "happened_at": event.happened_at.isoformat(),
        "organization": event.organization,
        "rule": event.rule,
        "kind": event.kind,
        "severity": event.severity,
        "title": event.title,
        "subject": event.subject,
        "link": event.link,
        "facts": dict(event.facts),
        "data": dict(event.data),
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
