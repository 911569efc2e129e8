"""A Slack channel through an incoming webhook, in blocks. The webhook's URL is the secret."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from controlplane.alerts.channels.channel import DeliveryOutcome, Destination, Event, checked_url, cut, judged, post
from controlplane.providers.gate import Answer
from dataplane.core.secret import Secret

# https://api.slack.com/messaging/webhooks#handling_errors: the URL or the workspace is gone, or the message is wrong.
FINAL = frozenset({400, 403, 404, 410})
MOST_FIELDS = 10  # of one section, by Slack's rules; of 2000 characters each, a header of 150
SIGNS = {"info": ":information_source:", "warning": ":warning:", "critical": ":rotating_light:"}


class Slack:
    kind = "slack"
    help = "In Slack: your app → Incoming webhooks → Add new webhook; paste its URL as the secret."
    address_label = ""
    default_address = ""
    secret_label = "Webhook URL"  # noqa: S105 - a label
    says_resolved = False

    def check_address(self, address: str) -> str:
        return ""

    def check_secret(self, secret: Secret) -> Secret:
        return Secret(str(checked_url(secret.reveal().decode("utf-8", errors="replace"), "secret")))

    def deliver(self, event: Event, destination: Destination) -> DeliveryOutcome:
        url = destination.secret.reveal().decode()
        path = urlsplit(url).path
        secrets = (url, path, path.rpartition("/")[2])
        content = json.dumps(_message(event), ensure_ascii=False).encode()
        answer = post(url, content, {"content-type": "application/json"}, secrets=secrets)
        return judged(answer, final=FINAL) if isinstance(answer, Answer) else answer


def _message(event: Event) -> dict[str, object]:
    sign = {"test": ":test_tube:"}.get(event.what, SIGNS.get(event.severity, ":warning:"))
    facts = [
        {"type": "mrkdwn", "text": cut(f"*{_plain(name)}*\n{_plain(value)}", 2000)}
        for name, value in event.facts[:MOST_FIELDS]
    ]
    blocks: list[dict[str, object]] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": cut(f"{sign} *{_plain(event.title)}*", 3000)}}
    ]
    if facts:
        blocks.append({"type": "section", "fields": facts})
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": cut(_origin(event), 2000)}]})
    return {"text": cut(_plain(event.title), 3000), "blocks": blocks}


def _origin(event: Event) -> str:
    words = f"{_plain(event.rule)} · {_plain(event.organization)}"
    return f"{words} · <{event.link}|Open in AI Gateway>" if event.link else words


def _plain(text: str) -> str:
    """The three characters that Slack reads as markup, and line breaks."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
