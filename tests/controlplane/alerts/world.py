"""Channels of every kind, rules, and spending that was booked."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.utils import timezone

from controlplane.alerts import channel_actions, rule_actions
from controlplane.alerts.models import Alert, AlertRule, Channel, ChannelKind, Delivery, RuleKind
from controlplane.alerts.raising import Occurrence, begin
from controlplane.tenancy.models import Organization
from controlplane.usage.models import UsageRecord
from dataplane.core.secret import Secret
from tests.controlplane import factories as make
from tests.controlplane.alerts.sinks import ROUTING_KEY, SIGNING_SECRET, SLACK_PATH, Sink

_numbers = count(1)


def email(of: Organization, address: str = "oncall@example.com, finance@example.com", **fields: Any) -> Channel:
    return _made(of, ChannelKind.EMAIL, address=address, **fields)


def slack(of: Organization, sink: Sink, **fields: Any) -> Channel:
    return _made(of, ChannelKind.SLACK, **{"secret": Secret(sink.url + SLACK_PATH)} | fields)


def pagerduty(of: Organization, sink: Sink, **fields: Any) -> Channel:
    return _made(of, ChannelKind.PAGERDUTY, **{"address": sink.url, "secret": Secret(ROUTING_KEY)} | fields)


def webhook(of: Organization, sink: Sink, **fields: Any) -> Channel:
    return _made(of, ChannelKind.WEBHOOK, **{"address": f"{sink.url}/hook", "secret": Secret(SIGNING_SECRET)} | fields)


def all_four(of: Organization, sink: Sink) -> list[Channel]:
    return [email(of), slack(of, sink), pagerduty(of, sink), webhook(of, sink)]


def _made(of: Organization, kind: ChannelKind, **fields: Any) -> Channel:
    fields = {"name": f"channel {next(_numbers)}"} | fields
    return channel_actions.create_channel(by=make.SYSTEM, organization=of, kind=kind, **fields)


def rule(of: Organization, kind: RuleKind = RuleKind.BUDGET_THRESHOLD, *channels: Channel, **fields: Any) -> AlertRule:
    """Armed a minute ago."""
    given = {"name": f"rule {next(_numbers)}", "channels": [channel.pk for channel in channels]} | fields
    made = rule_actions.create_rule(by=make.SYSTEM, organization=of, kind=kind, **given)
    return rearmed(made, timezone.now() - timedelta(minutes=1))


def rearmed(rule: AlertRule, at: datetime) -> AlertRule:
    from controlplane.changes.change_set import change_set

    with change_set(make.SYSTEM):
        rule.armed_at = at
        rule.save()
    return rule


def alert(of: Organization, *channels: Channel, **fields: Any) -> Alert:
    """Of a rule that sends to these channels."""
    occurrence: dict[str, Any] = {
        "subject_kind": "budget",
        "subject": f"subject {next(_numbers)}",
        "window_key": "month:2026-11-01@UTC",
        "threshold": 80,
        "title": "Grace Hopper is at 83 % of $100.00 per month",
        "happened_at": timezone.now(),
        "facts": (("Budget", "Personal cap"), ("Spent", "$83.00 of $100.00")),
        "data": {"budget_id": "bud_1", "limit_nano": 100_000_000_000},
    }
    made = begin(rule(of, RuleKind.UNPRICED_MODEL, *channels), Occurrence(**occurrence | fields))
    assert made is not None
    return made


def deliveries(of: Alert) -> list[Delivery]:
    return list(of.deliveries.order_by("pk"))


def spent(of: Any, nano: int, at: datetime | None = None, **fields: Any) -> UsageRecord:
    """One record of a principal; `of` is the principal."""
    number, at = next(_numbers), at or timezone.now()
    return UsageRecord.objects.create(
        **{
            "id": f"use_alerts{number:020d}",
            "request_id": f"req_a{number:029x}",
            "state": "final",
            "received_at": at,
            "started_at": at,
            "organization_id": of.organization_id,
            "principal_id": of.pk,
            "model": "claude-sonnet-4-5",
            "outcome": "ok",
            "priced": True,
            "input_tokens": 100,
            "cost_nano": nano,
        }
        | fields
    )
