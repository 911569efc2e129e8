"""The tables of money: accounts, leases, charges, crossings. Written by `unit_of_work`, `charges` and `earlier` only.

`settled` is spent money, `held` is money that pods may spend without asking: always the sum over the open leases of an
account of what was granted, less what was consumed and returned. Together they stay within the limit and the overdraft.
`excess` is what was booked although nobody had granted it: on a budget that only warns, after its limit was lowered,
where a request cost more than was held for it. It never makes room for a grant.
`earlier` is the part of `settled` for which there are no charges (`earlier.py`).
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from controlplane.budgets.months import MonthField
from dataplane.core.money.lease_rows import SessionState


class Account(models.Model):
    """One budget, one member (of a group budget; else empty), one window. Rows are locked in the order of their ids."""

    id = models.BigAutoField(primary_key=True)
    organization_id = models.CharField(max_length=40)
    budget_id = models.CharField(max_length=40)
    member_id = models.CharField(max_length=40, blank=True)
    window_key = models.CharField(max_length=120)
    starts_at = models.DateTimeField(null=True, help_text="Empty: from the first request on.")
    ends_at = models.DateTimeField(null=True, help_text="Exclusive. Empty: it does not end by itself.")
    limit_nano = models.BigIntegerField(help_text="With the overrides that were live when it was last drawn on.")
    settled_nano = models.BigIntegerField(default=0)
    held_nano = models.BigIntegerField(default=0)
    overdraft_used_nano = models.BigIntegerField(default=0)
    overdraft_limit_nano = models.BigIntegerField(default=0)
    excess_nano = models.BigIntegerField(default=0)
    earlier_nano = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="The part of what is settled that requests of its window cost which did not draw on it, since it "
        "did not count them yet; below zero: what others cost that it does not cover any more.",
    )
    adding_up = models.BooleanField(
        default=False, db_default=False, help_text="What was spent earlier is not all added up yet."
    )
    opened_at = models.DateTimeField(default=timezone.now)
    drawn_at = models.DateTimeField(default=timezone.now, help_text="When it last changed.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["budget_id", "member_id", "window_key"], name="one_account_per_window"),
            models.CheckConstraint(condition=Q(held_nano__gte=0), name="account_holds_no_less_than_nothing"),
            models.CheckConstraint(
                condition=Q(
                    settled_nano__lte=F("limit_nano") + F("overdraft_used_nano") + F("excess_nano") - F("held_nano")
                ),
                name="account_stays_within_its_limit",
            ),
            models.CheckConstraint(
                condition=Q(overdraft_used_nano__gte=0, overdraft_used_nano__lte=F("overdraft_limit_nano")),
                name="account_overdraft_has_an_end",
            ),
            models.CheckConstraint(condition=Q(excess_nano__gte=0), name="account_excess_is_never_room"),
        ]
        indexes = [
            models.Index(fields=["organization_id", "-drawn_at"], name="account_by_organization"),
            models.Index(fields=["ends_at"], name="account_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.budget_id} {self.member_id} {self.window_key}".replace("  ", " ")


class EarlierCount(models.Model):
    """What a window had cost before its budget counted it is still to be added up, or will be once more: while records
    of requests may come that pods admitted without knowing of the change. One for each budget, of its last change."""

    budget_id = models.CharField(max_length=40, primary_key=True)
    window_key = models.CharField(max_length=120)
    since = models.DateTimeField(null=True, help_text="Empty: from the ledger's first record on.")
    changed_at = models.DateTimeField()
    due_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="earlier_count_by_time")]

    def __str__(self) -> str:
        return f"{self.budget_id} {self.window_key}"


class LeaseSession(models.Model):
    """One pod's life as a holder of leases. Once closed its leases are void, and it has to start another one."""

    session_id = models.CharField(max_length=64, primary_key=True)
    pod_id = models.CharField(max_length=64)
    identity = models.CharField(max_length=64, blank=True, help_text="Name in its certificate; nobody else may use it.")
    state = models.CharField(max_length=8, choices=[(state.value, state.value) for state in SessionState])
    expires_ms = models.BigIntegerField(help_text="Unix milliseconds; its pod spends nothing by itself after that.")
    alone_ms = models.BigIntegerField(
        default=0, help_text="Unix milliseconds: when it was back after its pod had to decide by itself."
    )
    opened_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["state", "expires_ms"], name="lease_session_by_end")]

    def __str__(self) -> str:
        return self.session_id


class Lease(models.Model):
    """What one session may spend of one account. The sums only grow; `free` and `live` are as the pod last said."""

    id = models.BigAutoField(primary_key=True)
    session = models.ForeignKey(LeaseSession, on_delete=models.CASCADE, related_name="leases")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="leases")
    granted_nano = models.BigIntegerField(default=0)
    consumed_nano = models.BigIntegerField(default=0)
    returned_nano = models.BigIntegerField(default=0)
    free_nano = models.BigIntegerField(default=0)
    live_nano = models.BigIntegerField(default=0)
    used_ms = models.BigIntegerField(default=0)
    recalled_ms = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["session", "account"], name="one_lease_per_session")]

    def __str__(self) -> str:
        return f"{self.session_id} on {self.account_id}"


class AskReply(models.Model):
    """What was answered: an ask that comes again gets the same."""

    id = models.BigAutoField(primary_key=True)
    session_id = models.CharField(max_length=64)
    ask_id = models.BigIntegerField()
    reply = models.BinaryField(help_text="HoldDown of protos/fleet.proto.")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["session_id", "ask_id"], name="one_reply_per_ask")]
        indexes = [models.Index(fields=["at"], name="ask_reply_by_time")]

    def __str__(self) -> str:
        return f"{self.session_id} {self.ask_id}"


class Charge(models.Model):
    """What one attempt took from one account. `correction` 0 is the first word about it, later ones add to it."""

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="charges")
    request_id = models.CharField(max_length=64)
    month = MonthField(help_text="Of the request's id: where PostgreSQL keeps the row.")
    attempt = models.IntegerField(default=0)
    correction = models.IntegerField(default=0)
    amount_nano = models.BigIntegerField()
    estimated = models.BooleanField(default=False, help_text="Of a request whose end nobody saw: what was held for it.")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["request_id", "attempt", "account", "correction", "month"],
                name="one_charge_per_attempt_and_account",
            )
        ]
        indexes = [models.Index(fields=["account", "-at"], name="charge_by_account")]

    def __str__(self) -> str:
        return f"{self.request_id} ({self.attempt}) on {self.account_id}"


class Crossing(models.Model):
    """Spending reached a threshold of an account: once under each limit. Whoever tells people of it finds it here."""

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="crossings")
    organization_id = models.CharField(max_length=40)
    budget_id = models.CharField(max_length=40)
    member_id = models.CharField(max_length=40, blank=True)
    window_key = models.CharField(max_length=120)
    threshold = models.PositiveIntegerField(help_text="Per cent of the limit.")
    limit_nano = models.BigIntegerField()
    settled_nano = models.BigIntegerField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "threshold", "limit_nano"], name="one_crossing_per_limit")
        ]
        indexes = [
            models.Index(fields=["organization_id", "-at"], name="crossing_by_organization"),
            models.Index(fields=["budget_id", "-at"], name="crossing_by_budget"),
        ]

    def __str__(self) -> str:
        return f"{self.threshold} % of {self.budget_id} {self.window_key}"
