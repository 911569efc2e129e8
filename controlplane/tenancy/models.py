"""The tenancy tree's rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q

from controlplane.changes.config import ConfigModel
from controlplane.changes.cuttable import Cuttable
from controlplane.changes.ids import new_id
from controlplane.changes.models import ResourceKind
from controlplane.changes.row import AuditTarget, Touch
from controlplane.tenancy.scope import Scope

LONGEST_FRESHNESS_BOUND_S = 900
TOKEN_MARK = "lw_at_"  # noqa: S105 - what every API token starts with


def organization_id() -> str:
    return new_id("org")


def team_id() -> str:
    return new_id("team")


def project_id() -> str:
    return new_id("proj")


def principal_id() -> str:
    return new_id("prin")


def membership_id() -> str:
    return new_id("mem")


def token_id() -> str:
    return new_id("tok")


def group_id() -> str:
    return new_id("grp")


def group_place_id() -> str:
    return new_id("seat")


class Organization(Cuttable):
    """A tenant: nothing of one is visible to another."""

    scope: ClassVar[Scope] = Scope(organization="id")
    must = {
        "organization_freshness_is_bounded": ("freshness_bound_s", f"is 0 to {LONGEST_FRESHNESS_BOUND_S} seconds"),
    }

    id = models.CharField(primary_key=True, max_length=40, default=organization_id, editable=False)
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=63, unique=True)
    contact = models.CharField(
        max_length=200, blank=True, help_text="Who can help; shown to engineers when a request is refused."
    )
    active = models.BooleanField(default=True, help_text="Off: every key of the organization is refused.")
    freshness_bound_s = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(LONGEST_FRESHNESS_BOUND_S)],
        help_text="Seconds without news after which a pod refuses requests. 0: 45, which keeps revocation within 60.",
    )
    cut_on_stale = models.BooleanField(
        default=False, help_text="End running streams too when a pod is without news for too long."
    )
    cut_on_expiry = models.BooleanField(
        default=False,
        help_text="End the running streams of a key, or of a secret after its rotation, at the moment it expires. "
        "Off: they go on to their end.",
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(freshness_bound_s__lte=LONGEST_FRESHNESS_BOUND_S), name="organization_freshness_is_bounded"
            )
        ]

    def __str__(self) -> str:
        return self.name

    def touches(self) -> Iterable[Touch]:
        return (Touch(ResourceKind.ORGANIZATION, self.pk, self.pk),)

    def organization_of(self) -> str:
        return str(self.pk)


class Team(ConfigModel):
    """A part of an organization that owns projects."""

    scope: ClassVar[Scope] = Scope(organization="organization_id", team="id")

    id = models.CharField(primary_key=True, max_length=40, default=team_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="teams")
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=63)
    external_id = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "slug"], name="one_team_per_slug")]

    def __str__(self) -> str:
        return self.name


class Project(Cuttable):
    """A team's piece of work: usage is booked on it."""

    scope: ClassVar[Scope] = Scope(organization="organization_id", team="team_id")

    id = models.CharField(primary_key=True, max_length=40, default=project_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="projects")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="projects")
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=63)
    active = models.BooleanField(default=True, help_text="Off: every key that books here is refused.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "slug"], name="one_project_per_slug")]

    def __str__(self) -> str:
        return self.name

    def touches(self) -> Iterable[Touch]:
        return (Touch(ResourceKind.PROJECT, self.pk, self.organization_id),)


class PrincipalKind(models.TextChoices):
    PERSON = "person"
    SERVICE = "service"


class Principal(Cuttable):
    """A person or service account that requests are attributed to."""

    scope: ClassVar[Scope] = Scope(organization="organization_id", user="user_id")

    id = models.CharField(primary_key=True, max_length=40, default=principal_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="principals")
    kind = models.CharField(max_length=10, choices=PrincipalKind.choices, default=PrincipalKind.PERSON)
    display_name = models.CharField(max_length=120)
    email = models.EmailField(blank=True)
    external_id = models.CharField(max_length=200, blank=True, help_text="The identity provider's or HR system's id.")
    active = models.BooleanField(default=True, help_text="Off: every key of theirs is refused.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="principals",
        help_text="The login of this person, if there is one.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "external_id"],
                condition=~Q(external_id=""),
                name="one_principal_per_external_id",
            ),
            models.UniqueConstraint(
                fields=["organization", "email"], condition=~Q(email=""), name="one_principal_per_email"
            ),
            models.UniqueConstraint(fields=["organization", "user"], name="one_principal_per_login"),
        ]

    def __str__(self) -> str:
        return self.display_name

    def touches(self) -> Iterable[Touch]:
        return (Touch(ResourceKind.PRINCIPAL, self.pk, self.organization_id),)


class Group(ConfigModel):
    """Principals that are treated alike, such as everybody on one plan: each member has a group budget of its own."""

    scope: ClassVar[Scope] = Scope(organization="organization_id")

    id = models.CharField(primary_key=True, max_length=40, default=group_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="groups")
    name = models.CharField(max_length=120)
    description = models.CharField(max_length=500, blank=True)
    external_id = models.CharField(max_length=200, blank=True, help_text="The identity provider's id of the group.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="one_group_per_name"),
            models.UniqueConstraint(
                fields=["organization", "external_id"], condition=~Q(external_id=""), name="one_group_per_external_id"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class GroupMember(ConfigModel):
    """One principal in one group. Pods learn of it with the principal."""

    scope: ClassVar[Scope] = Scope(organization="organization_id")

    id = models.CharField(primary_key=True, max_length=40, default=group_place_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="members")
    principal = models.ForeignKey(Principal, on_delete=models.CASCADE, related_name="group_places")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["group", "principal"], name="one_place_per_group_and_principal")]

    def __str__(self) -> str:
        return f"{self.principal} in {self.group}"

    def touches(self) -> Iterable[Touch]:
        return (Touch(ResourceKind.PRINCIPAL, self.principal_id, self.organization_id),)

    def audit_target(self) -> AuditTarget:
        return AuditTarget("group", self.group_id, part=f"member {self.principal_id}")


class Role(models.TextChoices):
    OWNER = "owner"
    ADMIN = "admin"
    TEAM_ADMIN = "team_admin", "Team admin"
    MEMBER = "member"
    VIEWER = "viewer"
    AUDITOR = "auditor"


class Membership(ConfigModel):
    """A login's role in an organization, narrowed to a team for team admins and, if wanted, members."""

    scope: ClassVar[Scope] = Scope(organization="organization_id", team="team_id")
    must = {"role_fits_its_reach": ("team", "a team admin has a team, a member may have one, no other role has")}

    id = models.CharField(primary_key=True, max_length=40, default=membership_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role.choices)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, blank=True, related_name="memberships")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "organization"], condition=Q(team=None), name="one_role_per_login_and_organization"
            ),
            models.UniqueConstraint(
                fields=["user", "team"], condition=~Q(team=None), name="one_role_per_login_and_team"
            ),
            models.CheckConstraint(
                condition=Q(role=Role.TEAM_ADMIN, team__isnull=False)
                | Q(role=Role.MEMBER)
                | (~Q(role__in=[Role.TEAM_ADMIN, Role.MEMBER]) & Q(team=None)),
                name="role_fits_its_reach",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.get_role_display()}"


class ApiToken(ConfigModel):
    """A program's credential for the REST API: a role in one organization, or some of its verbs, until it expires."""

    scope: ClassVar[Scope] = Scope(organization="organization_id", team="team_id")
    observed = frozenset({"last_used_at"})
    must = {"team_admin_token_names_its_team": ("team", "a team admin's token names the team")}

    id = models.CharField(primary_key=True, max_length=40, default=token_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="api_tokens")
    name = models.CharField(max_length=120)
    role = models.CharField(max_length=12, choices=Role.choices, default=Role.VIEWER)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True, related_name="api_tokens")
    verbs = models.JSONField(default=list, blank=True, help_text="Only these of the role's verbs; empty: all of them.")
    public_id = models.CharField(max_length=10, unique=True, editable=False)
    pepper_version = models.PositiveIntegerField(editable=False)
    digest = models.BinaryField(max_length=32, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API token"
        constraints = [
            models.CheckConstraint(
                condition=~Q(role=Role.TEAM_ADMIN) | Q(team__isnull=False), name="team_admin_token_names_its_team"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def shown(self) -> str:
        """The part of the token that may be shown: prefix and public id."""
        return f"{TOKEN_MARK}{self.public_id}"


class LoginFailures(models.Model):
    """Wrong passwords in a row for one account or from one address, counted by every web process together."""

    key = models.CharField(primary_key=True, max_length=64, help_text="Keyed digest of the account or address.")
    failures = models.PositiveIntegerField(default=0)
    until = models.DateTimeField(help_text="When they are forgotten.")

    class Meta:
        indexes = [models.Index(fields=["until"], name="login_failures_by_end")]

    def __str__(self) -> str:
        return f"{self.failures} until {self.until:%H:%M:%S}"


class LoginPlace(models.Model):
    """A browser or a network from which an account's password was right: there, strangers' failures do not count."""

    key = models.CharField(primary_key=True, max_length=64, help_text="Keyed digest of the account and the place.")
    account = models.CharField(max_length=64, help_text="Keyed digest of the account.")
    until = models.DateTimeField(help_text="When it is forgotten, unless the password is right there again.")

    class Meta:
        indexes = [
            models.Index(fields=["account"], name="login_places_by_account"),
            models.Index(fields=["until"], name="login_places_by_end"),
        ]

    def __str__(self) -> str:
        return f"until {self.until:%Y-%m-%d}"
