"""What pods told us: operational rows, written by fleet replicas in batches, outside of change sets."""

from __future__ import annotations

from django.db import models


class PodState(models.TextChoices):
    """In the pod's own words, and `gone` for one that said goodbye."""

    STARTING = "starting"
    READY = "ready"
    STALE = "stale"
    DRAINING = "draining"
    GONE = "gone"


class Pod(models.Model):
    """One data-plane process, as it last spoke to any replica."""

    pod_id = models.CharField(max_length=64, primary_key=True)
    identity = models.CharField(max_length=64, blank=True, help_text="Name in its certificate; empty without TLS.")
    certificate = models.CharField(
        max_length=64, blank=True, help_text="SHA-256 of the certificate that it showed last; empty without TLS."
    )
    session_id = models.CharField(max_length=64, blank=True, help_text="Names the spool that it reports from.")
    stream_id = models.CharField(max_length=32, help_text="The Watch that may write this row: the newest one.")
    watch = models.BigIntegerField(default=0, help_text="Which of its process's Watches that is; older ones are stale.")
    name = models.CharField(max_length=128)
    version = models.CharField(max_length=64)
    address = models.CharField(max_length=256, blank=True)
    started_at = models.DateTimeField(null=True)
    first_seen_at = models.DateTimeField(help_text="When this process first said hello to the fleet.")
    connected = models.BooleanField(default=False)
    state = models.CharField(max_length=12, choices=PodState.choices, default=PodState.STARTING)
    epoch = models.CharField(max_length=32, blank=True)
    applied_revision = models.BigIntegerField(default=0)
    applied_at = models.DateTimeField(null=True)
    last_heartbeat_at = models.DateTimeField(help_text="When its newest message came in.")
    nack_revision = models.BigIntegerField(
        default=0, help_text="0: it refused nothing since its last applied revision."
    )
    nack_problem = models.CharField(max_length=500, blank=True)
    not_understood = models.JSONField(
        default=list, help_text="What of the configuration it does not understand, the first of it: kind, id, problem."
    )
    not_understood_count = models.BigIntegerField(
        null=True, help_text="How much that is. Null: the pod does not say, and ignores what it does not understand."
    )
    not_understood_since = models.DateTimeField(null=True, help_text="Means nothing while it understands everything.")
    refused_keys = models.BigIntegerField(default=0, help_text="That are covered by what it does not understand.")
    clock_ahead_ms = models.BigIntegerField(default=0, help_text="Its own wall clock, less the fleet's.")
    problem = models.CharField(
        max_length=500, blank=True, help_text="Why it does not serve everybody, in its own words; empty: it does."
    )
    open_exchanges = models.BigIntegerField(default=0)
    spool_records = models.BigIntegerField(default=0)
    requests_total = models.BigIntegerField(default=0)
    refusals_total = models.BigIntegerField(default=0)

    class Meta:
        indexes = [
            models.Index(fields=["last_heartbeat_at"], name="pod_by_last_heartbeat"),
            models.Index(fields=["session_id"], name="pod_by_session"),
        ]

    def __str__(self) -> str:
        return self.name or self.pod_id


class Eviction(models.Model):
    """A client certificate that no fleet replica answers any more. Its pod comes back with a new one only."""

    certificate = models.CharField(max_length=64, primary_key=True, help_text="SHA-256 of the certificate (DER).")
    identity = models.CharField(max_length=64, help_text="Name in the certificate.")
    pod_id = models.CharField(max_length=64, help_text="The process that was looked at when this was decided.")
    reason = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.identity} ({self.certificate[:12]}…)"


class PodAck(models.Model):
    """A pod applied this revision, and with it every one before. Kept for showing how fast a change went live."""

    pod_id = models.CharField(max_length=64)
    revision = models.BigIntegerField()
    at = models.DateTimeField(help_text="When the acknowledgement came in.")
    apply_ms = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["pod_id", "revision"], name="one_ack_per_pod_and_revision")]
        indexes = [
            models.Index(fields=["revision", "at"], name="ack_by_revision"),
            models.Index(fields=["at"], name="ack_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.pod_id} applied {self.revision}"


class FleetServer(models.Model):
    """One process of `manage.py serve_fleet`, as long as it runs: it says by which settings it serves."""

    server_id = models.CharField(max_length=32, primary_key=True)
    name = models.CharField(max_length=128, help_text="Host, port and process.")
    settings = models.JSONField(default=dict, help_text="Those that decide what pods are told: name → value.")
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
