"""What was decided about money: budgets and their overrides. What is spent and leased is in `accounts.py`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.timezone import now

from controlplane.budgets.accounts import Account, AskReply, Charge, Crossing, EarlierCount, Lease, LeaseSession
from controlplane.changes.config import ConfigModel
from controlplane.changes.ids import new_id
from controlplane.changes.models import ResourceKind
from controlplane.changes.row import AuditTarget, Touch
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Organization
from controlplane.tenancy.scope import Scope
from dataplane.core import rows
from dataplane.core.money.windows import WindowKind

__all__ = [
    "Account",
    "AskReply",
    "Budget",
    "Charge",
    "Crossing",
    "EarlierCount",
    "Lease",
    "LeaseSession",
    "OnBreach",
    "OutageRule",
    "Override",
    "ScopeKind",
    "Window",
]

LARGEST_LIMIT_NANO = 10**18  # a billion dollars: sums of a thousand such still fit
_AMOUNT = f"0 to {LARGEST_LIMIT_NANO // 10**9:,} dollars"


def budget_id() -> str:
    return new_id("bud")


def override_id() -> str:
    return new_id("more")


def default_thresholds() -> list[int]:
    return [80, 100]


class ScopeKind(models.TextChoices):
    """What a budget covers."""

    ORGANIZATION = rows.ScopeKind.ORGANIZATION.value
    TEAM = rows.ScopeKind.TEAM.value
    PROJECT = rows.ScopeKind.PROJECT.value
    PRINCIPAL = rows.ScopeKind.PRINCIPAL.value
    VIRTUAL_KEY = rows.ScopeKind.VIRTUAL_KEY.value, "Virtual key"
    GROUP = rows.ScopeKind.GROUP.value, "Group, each member"


class Window(models.TextChoices):
    """How a budget divides time."""

    MINUTE = WindowKind.MINUTE.value
    HOUR = WindowKind.HOUR.value
    DAY = WindowKind.DAY.value
    WEEK = WindowKind.WEEK.value
    MONTH = WindowKind.MONTH.value
    TOTAL = WindowKind.TOTAL.value, "Total, for ever"
    MANUAL = WindowKind.MANUAL.value, "Until it is reset by hand"


class OnBreach(models.TextChoices):
    BLOCK = rows.OnBreach.BLOCK.value, "Block requests"
    WARN = rows.OnBreach.WARN.value, "Only warn"


class OutageRule(models.TextChoices):
    """What a pod does without a lease while the control plane cannot be reached."""

    STRICT = rows.OutageRule.STRICT.value, "Strict: refuse"
    STANDARD = rows.OutageRule.STANDARD.value, "Standard: 5 % of the limit, split over the pods"
    OPEN = rows.OutageRule.OPEN.value, "Open: go on, without a bound"


class Budget(ConfigModel):
    """A limit in money on a scope and a window."""

    scope: ClassVar[Scope] = Scope(organization="organization_id", team="team_id")
    unaudited = frozenset({"scope_name", "counts_from", "lease_epoch"})
    must = {
        "budget_limit_is_money": ("limit_nano", f"is an amount of {_AMOUNT}"),
        "budget_overdraft_is_money": ("overdraft_nano", f"is an amount of {_AMOUNT}, or empty"),
    }

    id = models.CharField(primary_key=True, max_length=40, default=budget_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="budgets")
    name = models.CharField(max_length=120)
    scope_kind = models.CharField(max_length=12, choices=ScopeKind.choices)
    scope_id = models.CharField(max_length=40)
    scope_name = models.CharField(max_length=200, blank=True, editable=False, help_text="As it was called lately.")
    team_id = models.CharField(
        max_length=40, blank=True, editable=False, help_text="The team that the scope is in, or is."
    )
    provider = models.ForeignKey(
        Provider,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="budgets",
        help_text="Empty: whichever provider.",
    )
    model_pattern = models.CharField(
        max_length=200, blank=True, help_text="Pattern on `model` or `provider/model`; empty: whichever model."
    )
    window = models.CharField(max_length=8, choices=Window.choices, default=Window.MONTH)
    timezone = models.CharField(max_length=64, default="UTC", help_text="IANA name, such as Europe/Berlin.")
    anchor = models.PositiveSmallIntegerField(
        default=0,
        help_text="When windows begin: hour of the day, weekday (1: Monday), or day of the month. 0: as usual.",
    )
    count_earlier = models.BooleanField(
        default=True,
        db_default=False,  # of budgets that were made before there was the choice
        help_text="The window that runs when it is made, switched on, or given another window, provider or models, "
        "counts from its beginning, by the ledger; “in total” from the ledger's. Otherwise it counts from then on. A "
        "reset by hand always begins at nothing.",
    )
    counts_from = models.DateTimeField(
        default=now, editable=False, help_text="From when it counts in windows such as it has now."
    )
    resets = models.PositiveIntegerField(default=0, editable=False, help_text="How often it was reset by hand.")
    limit_nano = models.BigIntegerField()
    on_breach = models.CharField(max_length=5, choices=OnBreach.choices, default=OnBreach.BLOCK)
    outage = models.CharField(max_length=8, choices=OutageRule.choices, default=OutageRule.STANDARD)
    overdraft_nano = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="What running requests may take beyond the limit to finish. Empty: 2 % and at least $0.50; nothing "
        "when the outage rule is strict.",
    )
    thresholds = models.JSONField(default=default_thresholds, help_text="Per cent of the limit that raise an alert.")
    contact = models.CharField(
        max_length=200, blank=True, help_text="Who can raise it; shown when it refuses. Empty: the organization's."
    )
    enabled = models.BooleanField(default=True)
    lease_epoch = models.PositiveIntegerField(
        default=0,
        editable=False,
        help_text="One more with each edit that makes it stricter. Within 60 seconds every pod goes by it: what was "
        "leased before is then for running requests only.",
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(limit_nano__gte=0, limit_nano__lte=LARGEST_LIMIT_NANO), name="budget_limit_is_money"
            ),
            models.CheckConstraint(
                condition=Q(overdraft_nano=None) | Q(overdraft_nano__gte=0, overdraft_nano__lte=LARGEST_LIMIT_NANO),
                name="budget_overdraft_is_money",
            ),
        ]
        indexes = [models.Index(fields=["organization", "scope_kind", "scope_id"], name="budget_by_scope")]

    def __str__(self) -> str:
        return self.name

    def touches(self) -> Iterable[Touch]:
        return (Touch(ResourceKind.BUDGET, self.pk, self.organization_id),)


class Override(ConfigModel):
    """More money for a while: "+$50 until Friday". Ends by itself: the limit is computed from time."""

    scope: ClassVar[Scope] = Scope(organization="organization_id", team="budget__team_id")

    must = {"override_adds_money": ("extra_nano", f"is an amount of more than {_AMOUNT}")}

    id = models.CharField(primary_key=True, max_length=40, default=override_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="overrides")
    extra_nano = models.BigIntegerField()
    until = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is withdrawn.")
    reason = models.CharField(max_length=300)
    approved_by = models.CharField(max_length=200)
    withdrawn_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(extra_nano__gt=0, extra_nano__lte=LARGEST_LIMIT_NANO), name="override_adds_money"
            )
        ]

    def __str__(self) -> str:
        return f"{self.extra_nano / 10**9:.2f} $ more"

    def touches(self) -> Iterable[Touch]:
        return (Touch(ResourceKind.BUDGET, self.budget_id, self.organization_id),)

    def audit_target(self) -> AuditTarget:
        return AuditTarget("budget", self.budget_id, part=f"override {self.pk}")
