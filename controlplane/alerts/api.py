"""REST routes of alerting: rules, channels (write-only secret, test), alerts, deliveries (once more)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.alerts import channel_actions, delivery_actions, rule_actions
from controlplane.alerts.models import (
    LARGEST_PERCENT,
    About,
    Alert,
    AlertRule,
    Channel,
    ChannelKind,
    Delivery,
    RuleKind,
    Severity,
)
from controlplane.rest.resources import Nothing, Reference, Resource, StrictSerializer
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Verb
from dataplane.core.secret import Secret

WINDOWS = [("", "any"), *((window, window) for window in rule_actions.WINDOWS)]


def ids(**kwargs: Any) -> serializers.ListField:
    return serializers.ListField(child=serializers.CharField(max_length=40), max_length=20, **kwargs)


# ---- channels ----


class AlertChannelOut(serializers.ModelSerializer[Channel]):
    organization_id = serializers.CharField(read_only=True)

    class Meta:
        model = Channel
        fields = (
            "id", "organization_id", "name", "kind", "address", "enabled", "secret_last4", "last_test_at",
            "last_test_ok", "last_test_message", "last_test_ms", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class AlertChannelFields(StrictSerializer):
    name = serializers.CharField(max_length=80)
    address = serializers.CharField(
        max_length=2000,
        required=False,
        allow_blank=True,
        help_text="E-mail: recipients, separated by commas. Webhook: its URL. PagerDuty: its events endpoint.",
    )
    secret = serializers.CharField(
        max_length=4096,
        required=False,
        write_only=True,
        help_text="Slack: the webhook's URL. PagerDuty: the integration key. Webhook: the signing secret, 32 bytes or "
        "more. Goes in and never comes back.",
    )
    enabled = serializers.BooleanField(required=False)


class AlertChannelIn(AlertChannelFields):
    organization_id = Reference(Organization, Verb.ORGANIZATION_VIEW, source="organization")
    kind = serializers.ChoiceField(ChannelKind.choices)


class ChannelTested(serializers.Serializer[Any]):
    """What came of a test event."""

    ok = serializers.BooleanField()
    message = serializers.CharField()
    elapsed_ms = serializers.IntegerField()


class AlertChannels(Resource):
    """Where alerts go."""

    view_verb = Verb.ALERT_VIEW
    queryset = Channel.objects.all()
    output = AlertChannelOut
    outputs = {"test": ChannelTested}
    inputs = {"create": AlertChannelIn, "partial_update": AlertChannelFields, "test": Nothing}
    filters = ("organization_id", "name", "kind", "enabled")
    apart = frozenset({"test"})

    def create(self, request: Request) -> Response:
        return self.show(channel_actions.create_channel(by=self.actor, **_sealed(self.read(request))), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        row = self.get_object()
        return self.show(channel_actions.update_channel(row, by=self.actor, **_sealed(self.read(request))))

    def destroy(self, request: Request, pk: str) -> Response:
        channel_actions.delete_channel(self.get_object(), by=self.actor)
        return Response(status=204)

    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send a real test event now."""
        row = self.get_object()
        self.read(request)
        return self.show(channel_actions.test_channel(row, by=self.actor))


def _sealed(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "secret": Secret(data["secret"])} if "secret" in data else data


# ---- rules ----


class AlertRuleOut(serializers.ModelSerializer[AlertRule]):
    organization_id = serializers.CharField(read_only=True)
    channels = ids(read_only=True)

    class Meta:
        model = AlertRule
        fields = (
            "id", "organization_id", "name", "kind", "severity", "enabled", "channels", "about", "window", "scope_id",
            "threshold", "factor", "floor_nano", "armed_at", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class AlertRuleFields(StrictSerializer):
    name = serializers.CharField(max_length=120)
    severity = serializers.ChoiceField(Severity.choices, required=False)
    enabled = serializers.BooleanField(required=False)
    channels = ids(required=False, help_text="Ids of channels; none: alerts show in the console alone.")
    about = serializers.ChoiceField(
        About.choices, required=False, allow_blank=True, help_text="Whose budgets; empty: any. person: groups' too."
    )
    window = serializers.ChoiceField(
        WINDOWS, required=False, allow_blank=True, help_text="Only budgets of this window; empty: of any."
    )
    scope_id = serializers.CharField(
        max_length=40,
        required=False,
        allow_blank=True,
        help_text="Only this budget, team, project, person or key; empty: all.",
    )
    threshold = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=LARGEST_PERCENT,
        help_text="Percent of the limit; null: each of the budget's own thresholds.",
    )
    factor = serializers.DecimalField(
        max_digits=6,
        decimal_places=2,
        required=False,
        min_value=Decimal("1.1"),
        max_value=Decimal(1000),
        help_text="How many times its usual hour somebody's last hour must be.",
    )
    floor_nano = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=2**62,
        help_text="Nano-dollars: an hour below this is never too fast.",
    )


class AlertRuleIn(AlertRuleFields):
    organization_id = Reference(Organization, Verb.ORGANIZATION_VIEW, source="organization")
    kind = serializers.ChoiceField(RuleKind.choices)


class AlertRules(Resource):
    """When to say something, and where to."""

    view_verb = Verb.ALERT_VIEW
    queryset = AlertRule.objects.all()
    output = AlertRuleOut
    inputs = {"create": AlertRuleIn, "partial_update": AlertRuleFields}
    filters = ("organization_id", "name", "kind", "enabled")

    def create(self, request: Request) -> Response:
        return self.show(rule_actions.create_rule(by=self.actor, **self.read(request)), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        return self.show(rule_actions.update_rule(self.get_object(), by=self.actor, **self.read(request)))

    def destroy(self, request: Request, pk: str) -> Response:
        rule_actions.delete_rule(self.get_object(), by=self.actor)
        return Response(status=204)


# ---- what happened ----


class AlertOut(serializers.ModelSerializer[Alert]):
    organization_id = serializers.CharField(read_only=True)
    facts = serializers.ListField(child=serializers.ListField(child=serializers.CharField()), read_only=True)
    details = serializers.DictField(source="data", read_only=True)

    class Meta:
        model = Alert
        fields = (
            "id", "organization_id", "rule_id", "rule_name", "kind", "severity", "subject_kind", "subject",
            "window_key", "threshold", "title", "facts", "details", "happened_at", "created_at", "ends_at", "state",
            "resolved_at", "resolution",
        )  # fmt: skip
        read_only_fields = fields


class Alerts(Resource):
    """What happened, newest first: once per rule, subject, window and threshold."""

    view_verb = Verb.ALERT_VIEW
    queryset = Alert.objects.all()
    output = AlertOut
    filters = ("organization_id", "rule_id", "kind", "severity", "subject", "state")
    page_ordering = ("-created_at", "-id")


class DeliveryOut(serializers.ModelSerializer[Delivery]):
    organization_id = serializers.CharField(read_only=True)
    alert_id = serializers.CharField(read_only=True)

    class Meta:
        model = Delivery
        fields = (
            "id", "organization_id", "alert_id", "channel_id", "channel_name", "channel_kind", "event", "state",
            "attempts", "attempts_left", "created_at", "next_try_at", "last_try_at", "delivered_at", "status",
            "message",
        )  # fmt: skip
        read_only_fields = fields


class AlertDeliveries(Resource):
    """Each alert's way to each channel."""

    view_verb = Verb.ALERT_VIEW
    queryset = Delivery.objects.all()
    output = DeliveryOut
    inputs = {"redeliver": Nothing}
    filters = ("organization_id", "alert_id", "channel_id", "state", "event")
    page_ordering = ("-created_at", "-id")

    @action(detail=True, methods=["post"])
    def redeliver(self, request: Request, pk: str) -> Response:
        """Send it again, under the same id."""
        row = self.get_object()
        self.read(request)
        return self.show(delivery_actions.redeliver(row, by=self.actor))
