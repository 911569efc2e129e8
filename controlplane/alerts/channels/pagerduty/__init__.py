"""PagerDuty's Events API v2: an incident begins with the alert and is resolved with it, under one dedup key."""

from __future__ import annotations

import json
from dataclasses import replace

from django.core.exceptions import ValidationError

from controlplane.alerts.channels.channel import DeliveryOutcome, Destination, Event, checked_url, cut, judged, post
from controlplane.providers.gate import Answer
from dataplane.core.secret import Secret

ENDPOINT = "https://events.pagerduty.com"
PATH = "/v2/enqueue"
# 400: the event is wrong; 401, 403, 404: the key or the endpoint is. 429 and 5xx pass.
FINAL = frozenset({400, 401, 403, 404})


class PagerDuty:
    kind = "pagerduty"
    help = (
        "In PagerDuty: service → Integrations → Events API v2; paste its integration key as the secret. "
        "A test opens an incident of severity info and resolves it at once."
    )
    address_label = "Events endpoint"
    default_address = ENDPOINT
    secret_label = "Integration key"  # noqa: S105 - a label
    says_resolved = True

    def check_address(self, address: str) -> str:
        return str(checked_url(address or ENDPOINT, "address")).removesuffix(PATH)

    def check_secret(self, secret: Secret) -> Secret:
        value = secret.reveal().strip()
        if len(value) != 32 or not value.isalnum():
            raise ValidationError({"secret": "This is no integration key: PagerDuty's are 32 letters and digits."})
        return Secret(value)

    def deliver(self, event: Event, destination: Destination) -> DeliveryOutcome:
        if event.what != "test":
            return self._send(event, "resolve" if event.what == "resolved" else "trigger", destination)
        opened = self._send(replace(event, severity="info"), "trigger", destination)
        return self._send(event, "resolve", destination) if opened.ok else opened

    def _send(self, event: Event, action: str, destination: Destination) -> DeliveryOutcome:
        key = destination.secret.reveal().decode()
        body: dict[str, object] = {"routing_key": key, "event_action": action, "dedup_key": event.dedup_key}
        if action == "trigger":
            body |= _payload(event)
        content = json.dumps(body, ensure_ascii=False).encode()
        answer = post(destination.address, content, {"content-type": "application/json"}, secrets=(key,), path=PATH)
        return judged(answer, final=FINAL) if isinstance(answer, Answer) else answer


def _payload(event: Event) -> dict[str, object]:
    payload = {
        "summary": cut(event.title, 1024),
        "source": f"AI Gateway: {event.organization}",
        "severity": event.severity,
        "timestamp": event.happened_at.isoformat(),
        "component": event.subject,
        "class": event.kind,
        "custom_details": {"rule": event.rule, **dict(event.facts)},
    }
    links = [{"href": event.link, "text": "Open in AI Gateway"}] if event.link else []
    return {"payload": payload, "client": "AI Gateway", "client_url": event.link, "links": links}
