"""The channels: one folder each, one line here. A new one also needs its word in `ChannelKind`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from controlplane.alerts.channels.channel import ChannelType, DeliveryOutcome, Destination, Event
from controlplane.alerts.channels.email import Email
from controlplane.alerts.channels.pagerduty import PagerDuty
from controlplane.alerts.channels.slack import Slack
from controlplane.alerts.channels.webhook import Webhook

CHANNELS: Mapping[str, ChannelType] = MappingProxyType(
    {channel.kind: channel for channel in (Email(), Slack(), PagerDuty(), Webhook())}
)

__all__ = ["CHANNELS", "ChannelType", "DeliveryOutcome", "Destination", "Event"]
