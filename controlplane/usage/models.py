"""The ledger's tables. Owners are joined by id and never copied by name; no prompt and no key is in here."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from controlplane.budgets.months import MonthField
from dataplane.core.usage import Outcome, UsageSource


class RecordState(models.TextChoices):
    """How the end of an attempt is known."""

    ADMITTED = "admitted", "Admitted, end not yet reported"
    FINAL = "final", "Reported by the pod"
    ESTIMATED = "estimated", "Estimated: the end was never reported"
    CORRECTED = "corrected", "Estimated, corrected by a later row"


class UsageRecord(models.Model):
    """One attempt of one exchange. Money in nano-dollars, durations in milliseconds, sizes in bytes.

    A report that comes after its attempt was estimated becomes a row of its own (`correction`), whose units and cost
    are the differences to the estimate: sums over all rows are right at any time, and money once written never changes.
    """

    id = models.CharField(max_length=40, primary_key=True)
    request_id = models.CharField(max_length=64)
    month = MonthField(help_text="Of the request's id: where PostgreSQL keeps the row.")
    attempt = models.IntegerField(default=0)
    correction = models.BooleanField(default=False)
    state = models.CharField(max_length=10, choices=RecordState.choices)
    received_at = models.DateTimeField(help_text="When the row was made.")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    session_id = models.CharField(max_length=64, blank=True, help_text="The pod's spool that it came from.")

    organization_id = models.CharField(max_length=40, blank=True)
    team_id = models.CharField(max_length=40, blank=True)
    project_id = models.CharField(max_length=40, blank=True)
    principal_id = models.CharField(max_length=40, blank=True)
    key_id = models.CharField(max_length=40, blank=True)
    provider_id = models.CharField(max_length=40, blank=True)
    provider_kind = models.CharField(max_length=40, blank=True)
    dialect = models.CharField(max_length=40, blank=True)
    operation = models.CharField(max_length=40, blank=True)
    model_requested = models.CharField(max_length=256, blank=True)
    model = models.CharField(max_length=256, blank=True)
    model_reported = models.CharField(max_length=256, blank=True)
    client = models.CharField(max_length=64, blank=True)
    client_version = models.CharField(max_length=64, blank=True)
    session = models.CharField(max_length=256, blank=True)
    streaming = models.BooleanField(default=False)

    outcome = models.CharField(
        max_length=16, blank=True, choices=[(outcome.value, outcome.value) for outcome in Outcome]
    )
    refusal_code = models.CharField(max_length=64, blank=True)
    refusal_budget_id = models.CharField(max_length=40, blank=True, help_text="The budget that refused or cut it.")
    http_status = models.IntegerField(default=0)
    source = models.CharField(
        max_length=10, default=UsageSource.NONE.value, choices=[(source.value, source.value) for source in UsageSource]
    )
    units = models.JSONField(default=dict, help_text="Usage class to count, as priced.")
    input_tokens = models.BigIntegerField(default=0, help_text="All input, cached or not.")
    cached_tokens = models.BigIntegerField(default=0, help_text="The part of the input read from a cache.")
    output_tokens = models.BigIntegerField(default=0, help_text="All output, reasoning included.")
    why = models.CharField(
        max_length=16, blank=True, default="", help_text="Why the figures are not the provider's; empty: they are."
    )
    unconfirmed = models.BooleanField(
        default=False, help_text="What the attempt cost is not, or not only, by the provider's own figures."
    )
    parts = models.JSONField(
        default=list, blank=True, help_text="What other models used: [{model, kind, units, …}], beside `units`."
    )
    unknown_calls = models.JSONField(
        default=dict, blank=True, help_text="Calls of tools without a known price: name to count."
    )
    raw_usage = models.TextField(blank=True, help_text="The provider's own usage object, JSON.")
    service_tier = models.CharField(max_length=40, blank=True)
    speed = models.CharField(max_length=40, blank=True)
    geo = models.CharField(max_length=40, blank=True)
    cost_nano = models.BigIntegerField(default=0)
    priced = models.BooleanField(default=False)
    price_version = models.CharField(max_length=64, blank=True)

    first_byte_ms = models.BigIntegerField(default=0)
    duration_ms = models.BigIntegerField(default=0)
    revision = models.BigIntegerField(default=0)
    trace_id = models.CharField(max_length=32, blank=True)
    span_id = models.CharField(max_length=16, blank=True)
    parent_span_id = models.CharField(max_length=16, blank=True)
    request_bytes = models.BigIntegerField(default=0)
    response_bytes = models.BigIntegerField(default=0)
    events = models.BigIntegerField(default=0)
    provider_request_id = models.CharField(max_length=128, blank=True)
    tags = models.JSONField(default=list)
    metadata = models.TextField(blank=True, help_text="X-Langwatch-Metadata, JSON.")
    end_user_id = models.CharField(max_length=256, blank=True)
    estimated_input_tokens = models.BigIntegerField(default=0)
    accounts = models.JSONField(
        default=list, help_text="Accounts of budgets that it draws on: [budget, member, window], each."
    )
    reserved_nano = models.BigIntegerField(
        default=0, help_text="Held for it on each of them: what it is charged if its end is never seen."
    )
    hold_session = models.CharField(max_length=64, blank=True, help_text="Whose leases it was held on.")
    resettled = models.IntegerField(default=0, help_text="0, or which correction of its price this row is.")

    # No columns: what a record said of its provider, and of an answer that is kept there, on its way to their rows.
    provider_error: str = ""
    kept_id: str = ""
    goes_on: bool = False
    seen: UsageRecord | None = None  # its figures alone

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["request_id", "attempt", "correction", "resettled", "month"], name="one_record_per_attempt"
            )
        ]
        indexes = [
            models.Index(fields=["organization_id", "-started_at", "-id"], name="usage_by_organization"),
            models.Index(fields=["team_id", "-started_at", "-id"], name="usage_by_team"),
            models.Index(fields=["project_id", "-started_at", "-id"], name="usage_by_project"),
            models.Index(fields=["principal_id", "-started_at", "-id"], name="usage_by_principal"),
            models.Index(fields=["key_id", "-started_at", "-id"], name="usage_by_key"),
            models.Index(fields=["model", "-started_at", "-id"], name="usage_by_model"),
            models.Index(fields=["client", "-started_at", "-id"], name="usage_by_client"),
            models.Index(fields=["-started_at", "-id"], name="usage_by_time"),
            models.Index(fields=["received_at", "key_id"], name="usage_by_arrival"),
            models.Index(
                fields=["organization_id", "-started_at", "-id"],
                condition=Q(unconfirmed=True),
                name="usage_unconfirmed",
            ),
            models.Index(fields=["trace_id"], name="usage_by_trace"),
            models.Index(fields=["session"], condition=~Q(session=""), name="usage_by_session"),
            models.Index(
                fields=["provider_request_id"], condition=~Q(provider_request_id=""), name="usage_by_provider_request"
            ),
            models.Index(
                fields=["received_at"], condition=Q(state=RecordState.ADMITTED), name="usage_waiting_for_its_end"
            ),
            models.Index(fields=["hold_session"], condition=Q(state=RecordState.ADMITTED), name="usage_holding_money"),
        ]

    def __str__(self) -> str:
        return f"{self.request_id} ({self.attempt})"


class DeadLetter(models.Model):
    """A record that could not be applied. Its batch was acknowledged all the same; somebody has to look. Written by
    `dead_letters` only, which says how many there may be."""

    session_id = models.CharField(max_length=64)
    seq = models.BigIntegerField(help_text="Its number in the spool. Below zero: a day, for those that were not kept.")
    identity = models.CharField(max_length=64, blank=True, help_text="Of the pod that sent it.")
    count = models.BigIntegerField(default=1, help_text="How many it stands for.")
    received_at = models.DateTimeField()
    request_id = models.CharField(max_length=64, blank=True)
    problem = models.CharField(max_length=500)
    content = models.BinaryField(help_text="The record as it came, protobuf; empty when it was too large to keep.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["session_id", "seq"], name="one_dead_letter_per_place")]
        indexes = [models.Index(fields=["identity", "-id"], name="dead_letter_by_pod")]

    def __str__(self) -> str:
        return f"{self.request_id or self.seq}: {self.problem}"


class ReportSession(models.Model):
    """How far one pod's spool has been received. Sequence numbers start at 1 and have no holes: a hole is a loss."""

    session_id = models.CharField(max_length=64, primary_key=True)
    pod_id = models.CharField(max_length=64)
    identity = models.CharField(max_length=64, blank=True, help_text="Of the pod that reports it now.")
    opened_by = models.CharField(max_length=64, blank=True, help_text="Identity of the pod that began it.")
    through_seq = models.BigIntegerField(default=0)
    gaps = models.JSONField(default=list, help_text="Ranges [from, to] that never came.")
    missing = models.BigIntegerField(default=0, help_text="Records in the gaps.")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["last_at"], name="report_session_by_time")]

    def __str__(self) -> str:
        return f"{self.session_id} through {self.through_seq}"
