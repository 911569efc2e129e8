"""Rules and channels (configuration), alerts and deliveries (what happened)."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from controlplane.changes.config import ConfigModel
from controlplane.changes.ids import new_id
from controlplane.tenancy.models import Organization
from controlplane.tenancy.scope import Scope

LARGEST_PERCENT = 1000
DEFAULT_FLOOR_NANO = 5_000_000_000


def channel_id() -> str:
    return new_id("chan")


def rule_id() -> str:
    return new_id("rule")


def alert_id() -> str:
    return new_id("alrt")


def delivery_id() -> str:
    return new_id("dlv")


class ChannelKind(models.TextChoices):
    """One folder of `channels/` each."""

    EMAIL = "email", "E-mail"
    SLACK = "slack", "Slack"
    PAGERDUTY = "pagerduty", "PagerDuty"
    WEBHOOK = "webhook", "Signed webhook"


class Channel(ConfigModel):
    """A receiver of alerts. What it holds of secrets goes in and never comes back."""

    scope: ClassVar[Scope] = Scope(organization="organization_id")
    observed = frozenset({"last_test_at", "last_test_ok", "last_test_message", "last_test_ms"})

    id = models.CharField(primary_key=True, max_length=40, default=channel_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="alert_channels")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=12, choices=ChannelKind.choices)
    address = models.CharField(
        max_length=2000, blank=True, help_text="E-mail: recipients. Webhook: its URL. PagerDuty: its events endpoint."
    )
    enabled = models.BooleanField(default=True, help_text="Off: nothing is sent there, not even later.")
    secret_sealed = models.BinaryField(null=True, editable=False)
    secret_root_version = models.PositiveIntegerField(default=0, editable=False)
    secret_version = models.PositiveIntegerField(default=0, editable=False)
    secret_last4 = models.CharField(max_length=4, blank=True, editable=False)
    last_test_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_test_ok = models.BooleanField(null=True, blank=True, editable=False)
    last_test_message = models.CharField(max_length=500, blank=True, editable=False)
    last_test_ms = models.PositiveIntegerField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "alert channel"
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="one_channel_per_name")]

    def __str__(self) -> str:
        return self.name


class RuleKind(models.TextChoices):
    """The thing that a rule watches."""

    BUDGET_THRESHOLD = "budget_threshold", "A budget reaches a part of its limit"
    SPEND_VELOCITY = "spend_velocity", "Somebody spends much faster than usual"
    UNPRICED_MODEL = "unpriced_model", "A model without a price is used"
    ODD_FIGURES = "odd_figures", "A provider tells figures that cannot be, or runs tools without a price"
    PROVIDER_REFUSED = "provider_refused", "A provider refuses the organization's credential"
    LOST_USAGE = "lost_usage", "Usage records are lost or cannot be applied"


class Severity(models.TextChoices):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class About(models.TextChoices):
    """The owner of the budgets that a rule is about."""

    ANY = "", "Any budget"
    ORGANIZATION = "organization", "The organization's"
    TEAM = "team", "A team's"
    PROJECT = "project", "A project's"
    PERSON = "person", "A person's own"
    VIRTUAL_KEY = "virtual_key", "A virtual key's"


class AlertRule(ConfigModel):
    """A wish to be told: when, and through which channels. A rule sees what happens from `armed_at` on."""

    scope: ClassVar[Scope] = Scope(organization="organization_id")

    id = models.CharField(primary_key=True, max_length=40, default=rule_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="alert_rules")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=20, choices=RuleKind.choices, default=RuleKind.BUDGET_THRESHOLD)
    severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.WARNING)
    enabled = models.BooleanField(default=True)
    channels = models.JSONField(default=list, blank=True, help_text="Ids of channels; empty: alerts show here alone.")
    about = models.CharField(max_length=12, choices=About.choices, blank=True, default=About.ANY)
    window = models.CharField(max_length=8, blank=True, help_text="Only budgets of this window; empty: of any.")
    scope_id = models.CharField(
        max_length=40, blank=True, help_text="Only this budget, team, project, person or key; empty: all."
    )
    threshold = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LARGEST_PERCENT)],
        help_text="Percent of the limit; empty: each of the budget's own thresholds.",
    )
    factor = models.DecimalField(
        max_digits=6,
        decimal_places=2,
        default=Decimal(4),
        validators=[MinValueValidator(Decimal("1.1")), MaxValueValidator(Decimal(1000))],
        help_text="How many times its usual hour somebody's last hour must be.",
    )
    floor_nano = models.BigIntegerField(
        default=DEFAULT_FLOOR_NANO,
        validators=[MinValueValidator(0), MaxValueValidator(2**62)],
        help_text="An hour below this is never too fast. Nano-dollars.",
    )
    armed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="one_alert_rule_per_name")]

    def __str__(self) -> str:
        return self.name


class AlertState(models.TextChoices):
    OPEN = "open"
    RESOLVED = "resolved"


class Alert(models.Model):
    """It happened. Written once per rule, subject, window and threshold, whoever looks how often."""

    scope: ClassVar[Scope] = Scope(organization="organization_id")

    id = models.CharField(primary_key=True, max_length=40, default=alert_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="alerts")
    rule_id = models.CharField(max_length=40)
    rule_name = models.CharField(max_length=120)
    kind = models.CharField(max_length=20, choices=RuleKind.choices)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    subject_kind = models.CharField(max_length=20)
    subject = models.CharField(max_length=300, help_text="Whom or what it is about: ids, opaque.")
    window_key = models.CharField(max_length=120)
    threshold = models.PositiveIntegerField(default=0, help_text="Percent; 0 where the rule has none.")
    title = models.CharField(max_length=300)
    facts = models.JSONField(default=list, help_text="Pairs of name and text, for people.")
    data = models.JSONField(default=dict, help_text="The same for programs.")
    happened_at = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(null=True, help_text="When its window ends and with it the alert.")
    state = models.CharField(max_length=8, choices=AlertState.choices, default=AlertState.OPEN)
    resolved_at = models.DateTimeField(null=True)
    resolution = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rule_id", "subject", "window_key", "threshold"], name="one_alert_per_crossing_and_window"
            )
        ]
        indexes = [
            models.Index(fields=["organization", "-created_at", "-id"], name="alerts_of_organization"),
            models.Index(fields=["kind", "id"], condition=Q(state=AlertState.OPEN), name="alerts_that_are_open"),
        ]

    def __str__(self) -> str:
        return self.title


class DeliveryEvent(models.TextChoices):
    TRIGGERED = "triggered"
    RESOLVED = "resolved"


class DeliveryState(models.TextChoices):
    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead", "Given up"


class Delivery(models.Model):
    """One thing to say to one channel: what came of each try, and when the next one is.

    `next_try_at` is also the claim of whoever is trying: it lies in the future until the try has ended one way or the
    other.
    """

    scope: ClassVar[Scope] = Scope(organization="organization_id")

    id = models.CharField(primary_key=True, max_length=40, default=delivery_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="alert_deliveries")
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    channel_id = models.CharField(max_length=40)
    channel_name = models.CharField(max_length=80)
    channel_kind = models.CharField(max_length=12, choices=ChannelKind.choices)
    event = models.CharField(max_length=10, choices=DeliveryEvent.choices, default=DeliveryEvent.TRIGGERED)
    state = models.CharField(max_length=10, choices=DeliveryState.choices, default=DeliveryState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    attempts_left = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    next_try_at = models.DateTimeField(default=timezone.now)
    last_try_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    status = models.PositiveIntegerField(default=0, help_text="The receiver's HTTP status; 0: none.")
    message = models.CharField(max_length=500, blank=True, help_text="What came of the last try, in words.")

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["alert", "channel_id", "event"], name="one_delivery_per_alert_and_channel")
        ]
        indexes = [
            models.Index(fields=["next_try_at"], condition=Q(state=DeliveryState.WAITING), name="deliveries_that_wait"),
            models.Index(fields=["organization", "-created_at", "-id"], name="deliveries_of_organization"),
            models.Index(fields=["channel_id", "-created_at"], name="deliveries_of_channel"),
        ]

    def __str__(self) -> str:
        return f"{self.channel_name}, {self.created_at:%Y-%m-%d %H:%M}"
