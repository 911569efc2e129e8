"""Verbs on channels: permission, validation, change and audit in one transaction.

Each takes `by`, the actor, and raises Forbidden, NoSuchObject or django's ValidationError (field → what is right).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError

from controlplane.alerts import sealed
from controlplane.alerts.channels import CHANNELS, DeliveryOutcome, Destination, Event
from controlplane.alerts.models import AlertRule, Channel, ChannelKind
from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.changes.ids import new_id
from controlplane.environment import environment
from controlplane.providers.vault import CannotUnseal
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Verb, require
from controlplane.tenancy.scope import Place
from dataplane.core.secret import Secret

CHANGEABLE = frozenset({"name", "address", "enabled", "secret"})
LONGEST_SECRET = 4096  # bytes


def create_channel(
    *,
    by: Actor,
    organization: Organization,
    name: str,
    kind: ChannelKind,
    address: str = "",
    secret: Secret = sealed.NONE,
    enabled: bool = True,
) -> Channel:
    """The secret is sealed and cannot be read again."""
    require(by, Verb.ALERT_CHANGE, Place(organization.pk))
    row = Channel(organization=organization, kind=ChannelKind(kind).value, name=name.strip(), enabled=enabled)
    channel = CHANNELS[row.kind]
    row.address = channel.check_address(address.strip())
    if channel.secret_label and not secret:
        raise ValidationError({"secret": f"{channel.secret_label} is missing; give it with the channel."})
    if secret:
        sealed.put(row, _checked(row, secret))
    with change_set(by) as change:
        row.full_clean()
        row.save(force_insert=True)
        change.say("alert_channel.created", row)
    return row


def update_channel(channel: Channel, *, by: Actor, **fields: Any) -> Channel:
    """Fields: see CHANGEABLE. A stored secret does not follow its channel to another address: it is given again."""
    unknown = sorted(set(fields) - CHANGEABLE)
    if unknown:
        raise ValidationError({name: f"cannot be set; fields are {', '.join(sorted(CHANGEABLE))}" for name in unknown})
    require(by, Verb.ALERT_CHANGE, channel)
    secret: Secret = fields.pop("secret", sealed.NONE)
    with change_set(by) as change:
        channel.refresh_from_db()
        _fill(channel, fields, bool(secret))
        if secret:
            sealed.put(channel, _checked(channel, secret))
        channel.full_clean()
        channel.save()
        change.say("alert_channel.updated", channel, secret_replaced=bool(secret))
    return channel


def delete_channel(channel: Channel, *, by: Actor) -> None:
    """Not while a rule names it: the rule would fall silent."""
    require(by, Verb.ALERT_CHANGE, channel)
    with change_set(by) as change:
        rules = AlertRule.objects.filter(organization_id=channel.organization_id)
        users = sorted(rule.name for rule in rules if channel.pk in rule.channels)
        if users:
            raise ValidationError(f"Rules send to it: {', '.join(users)}. Take it out of them first.")
        rows = Channel.objects.filter(pk=channel.pk)
        rows.delete()
        change.say("alert_channel.deleted", channel)


@dataclass(frozen=True, slots=True)
class ChannelTest:
    """The result of a test event."""

    ok: bool
    message: str
    elapsed_ms: int


def test_channel(channel: Channel, *, by: Actor) -> ChannelTest:
    """Send a real test event now, and keep what came of it."""
    require(by, Verb.ALERT_TEST, channel)
    started = time.monotonic()
    outcome = _try(channel, by)
    test = ChannelTest(outcome.ok, outcome.message, int((time.monotonic() - started) * 1000))
    channel.last_test_at = datetime.now(UTC)
    channel.last_test_ok, channel.last_test_ms = test.ok, test.elapsed_ms
    channel.last_test_message = test.message[:500]
    channel.save(update_fields=["last_test_at", "last_test_ok", "last_test_message", "last_test_ms"])
    with change_set(by) as change:
        change.say("alert_channel.tested", channel, ok=test.ok, message=outcome.message)
    return test


def rewrap_secrets(*, by: Actor) -> int:
    """Bring every channel's secret under the newest root key. How many were not."""
    newest = next(iter(environment().root_keyring()))
    with change_set(by) as change:
        rows = list(Channel.objects.exclude(secret_sealed=None).exclude(secret_root_version=newest))
        for row in rows:
            sealed.rewrap(row)
            row.save(update_fields=["secret_sealed", "secret_root_version", "updated_at"])
            change.say("alert_channel.secret_rewrapped", row, root_version=newest)
    return len(rows)


def _fill(channel: Channel, fields: Mapping[str, Any], renewed: bool) -> None:
    before = channel.address
    for name, value in fields.items():
        setattr(channel, name, value.strip() if isinstance(value, str) else value)
    channel.address = CHANNELS[channel.kind].check_address(channel.address)
    if channel.address != before and channel.secret_sealed is not None and not renewed:
        raise ValidationError({"secret": "give it again: a stored secret is not sent to another address"})


def _checked(channel: Channel, secret: Secret) -> Secret:
    if len(secret.reveal()) > LONGEST_SECRET:
        raise ValidationError({"secret": f"The secret is longer than {LONGEST_SECRET} bytes."})
    return CHANNELS[channel.kind].check_secret(secret)


def _try(channel: Channel, by: Actor) -> DeliveryOutcome:
    try:
        destination = Destination(channel.address, sealed.secret_of(channel))
    except CannotUnseal:
        return DeliveryOutcome(False, "The stored secret cannot be read; enter it again.")
    event_id = new_id("test")
    event = Event(
        id=event_id,
        what="test",
        dedup_key=event_id,
        organization=channel.organization.name,
        rule="Test of a channel",
        kind="test",
        severity="info",
        subject=channel.name,
        title=f"This is a test of “{channel.name}”",
        happened_at=datetime.now(UTC),
        facts=(("Sent by", by.label), ("What to do", "Nothing: alerts of this channel arrive here.")),
        data={"channel_id": channel.pk},
        link=f"{environment().public_admin_url.rstrip('/')}/admin/alerts/channel/{channel.pk}/change/",
    )
    return CHANNELS[channel.kind].deliver(event, destination)
