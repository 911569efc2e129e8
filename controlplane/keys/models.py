"""Virtual keys, their secrets, and model aliases, which may be a key's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.db import models
from django.db.models import Q

from controlplane.changes.config import ConfigModel
from controlplane.changes.cuttable import Cuttable
from controlplane.changes.ids import new_id
from controlplane.changes.models import ResourceKind
from controlplane.changes.row import AuditTarget, Touch
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Organization, Principal, Project, Team
from controlplane.tenancy.scope import Scope


def key_id() -> str:
    return new_id("vk")


def alias_id() -> str:
    return new_id("alias")


class KeyEnvironment(models.TextChoices):
    LIVE = "live"
    TEST = "test"


class OwnerScope(models.TextChoices):
    """The level that owns a key: what a key of this owner may reach."""

    ORGANIZATION = "organization"
    TEAM = "team"
    PROJECT = "project"


class KeyState(models.TextChoices):
    ACTIVE = "active"
    DISABLED = "disabled"
    REVOKED = "revoked"


class VirtualKey(Cuttable):
    """The credential that a CLI carries, minus the credential."""

    scope: ClassVar[Scope] = Scope(organization="organization_id", team="project__team_id", user="principal__user_id")
    observed = frozenset({"last_used_at"})
    must = {
        "key_names_the_team_that_owns_it": (
            "owner_scope",
            "a team's or project's key has a team, no other key has",
        ),
        "key_says_when_it_was_revoked": ("state", "a revoked key says when"),
    }

    id = models.CharField(primary_key=True, max_length=40, default=key_id, editable=False)
    name = models.CharField(max_length=120)
    description = models.TextField(max_length=2000, blank=True)
    environment = models.CharField(
        max_length=4, choices=KeyEnvironment.choices, default=KeyEnvironment.LIVE, editable=False
    )
    owner_scope = models.CharField(max_length=12, choices=OwnerScope.choices, default=OwnerScope.PROJECT)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="virtual_keys")
    team = models.ForeignKey(
        Team,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="virtual_keys",
        help_text="Of team and project keys.",
    )
    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="virtual_keys", help_text="Where its usage is booked."
    )
    principal = models.ForeignKey(
        Principal,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="virtual_keys",
        help_text="Whom its usage is attributed to.",
    )
    public_id = models.CharField(max_length=10, unique=True, editable=False)
    state = models.CharField(max_length=8, choices=KeyState.choices, default=KeyState.ACTIVE, editable=False)
    cut = models.BooleanField(default=False, editable=False, help_text="Revoked, and its running streams ended too.")
    expires_at = models.DateTimeField(null=True, blank=True)
    models_allowed = models.JSONField(
        default=list, blank=True, help_text="Patterns on `model` or `provider/model`, after aliases; empty: all models."
    )
    providers_allowed = models.JSONField(
        default=list, blank=True, help_text="Provider ids; empty: all providers of the organization, later ones too."
    )
    tags = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True, help_text="Flat: text → text.")
    external_id = models.CharField(max_length=200, blank=True)
    disabled_reason = models.CharField(max_length=300, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_by = models.CharField(max_length=200, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "external_id"], condition=~Q(external_id=""), name="one_key_per_external_id"
            ),
            models.CheckConstraint(
                condition=Q(owner_scope=OwnerScope.ORGANIZATION, team=None)
                | (~Q(owner_scope=OwnerScope.ORGANIZATION) & Q(team__isnull=False)),
                name="key_names_the_team_that_owns_it",
            ),
            models.CheckConstraint(
                condition=~Q(state=KeyState.REVOKED) | Q(revoked_at__isnull=False), name="key_says_when_it_was_revoked"
            ),
        ]
        indexes = [models.Index(fields=["organization", "-created_at"], name="keys_of_organization")]

    def __str__(self) -> str:
        return self.name

    @property
    def shown(self) -> str:
        """What may be shown of the key: prefix and public id."""
        return f"lw_vk_{self.environment}_{self.public_id}"

    def touches(self) -> Iterable[Touch]:
        return (Touch(ResourceKind.VIRTUAL_KEY, self.pk, self.organization_id),)

    @classmethod
    def consequences(cls, before: VirtualKey | None, after: VirtualKey | None) -> Iterable[Touch]:
        """A key that stops is announced before everything else; again when a stopped one is revoked or cut."""
        yield from super().consequences(before, after)
        if before is None:
            return
        was, now = before.state, after.state if after is not None else KeyState.REVOKED
        cut = after is None or (now == KeyState.REVOKED and after.cut)
        if (was, now) in _STOPS or (cut and not before.cut):
            yield Touch(ResourceKind.VIRTUAL_KEY, before.pk, before.organization_id, revoked=True, cut=cut)


_STOPS = frozenset(
    {
        (KeyState.ACTIVE, KeyState.DISABLED),
        (KeyState.ACTIVE, KeyState.REVOKED),
        (KeyState.DISABLED, KeyState.REVOKED),  # what still drains must hear of it
    }
)


class KeySecret(ConfigModel):
    """One secret of a key, as a digest. The newest has no end of its own, an older one ends with its grace."""

    scope: ClassVar[Scope] = Scope(organization="organization_id")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    key = models.ForeignKey(VirtualKey, on_delete=models.CASCADE, related_name="secrets")
    public_id = models.CharField(max_length=10, primary_key=True)
    pepper_version = models.PositiveIntegerField()
    digest = models.BinaryField(max_length=32)
    not_after = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.public_id

    def touches(self) -> Iterable[Touch]:
        return (Touch(ResourceKind.VIRTUAL_KEY, self.key_id, self.organization_id),)

    def audit_target(self) -> AuditTarget:
        return AuditTarget("virtual_key", self.key_id, part=f"secret {self.public_id}")


class ModelAlias(ConfigModel):
    """Client's model name → provider model, for an organization, one of its projects, or one key."""

    scope: ClassVar[Scope] = Scope(organization="organization_id")
    must = {"alias_has_one_level": ("key", "an alias is of the organization, of a project or of a key: leave one out")}

    id = models.CharField(primary_key=True, max_length=40, default=alias_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="model_aliases")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, null=True, blank=True, related_name="model_aliases")
    key = models.ForeignKey(VirtualKey, on_delete=models.CASCADE, null=True, blank=True, related_name="model_aliases")
    alias = models.CharField(max_length=200, help_text="The name that clients send, exactly.")
    provider = models.ForeignKey(
        Provider,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="model_aliases",
        help_text="Empty: whichever provider serves the model.",
    )
    model = models.CharField(max_length=200)

    class Meta:
        verbose_name_plural = "model aliases"
        constraints = [
            models.CheckConstraint(condition=Q(project=None) | Q(key=None), name="alias_has_one_level"),
            models.UniqueConstraint(
                fields=["organization", "alias"], condition=Q(project=None, key=None), name="one_alias_per_organization"
            ),
            models.UniqueConstraint(
                fields=["project", "alias"], condition=~Q(project=None), name="one_alias_per_project"
            ),
            models.UniqueConstraint(fields=["key", "alias"], condition=~Q(key=None), name="one_alias_per_key"),
        ]

    def __str__(self) -> str:
        return f"{self.alias} → {self.model}"

    def touches(self) -> Iterable[Touch]:
        return (Touch(ResourceKind.MODEL_ALIAS, self.pk, self.organization_id),)
