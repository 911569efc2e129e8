"""The form of a group: members are typed, one per line, as people name each other."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from controlplane.changes.actor import Actor
from controlplane.console.fields import LinesField
from controlplane.tenancy.models import Group, GroupMember, Organization, Principal
from controlplane.tenancy.permissions import Verb
from controlplane.tenancy.queries import for_actor

MOST_NAMED = 5  # of those that nobody is, in one message


class GroupForm(forms.ModelForm):  # type: ignore[type-arg]
    """`actor` is set on the class that a request uses."""

    actor: ClassVar[Actor]

    people = LinesField(
        label="Members",
        rows=8,
        placeholder="ada@example.com\ngrace@example.com",
        help_text="One per line: an e-mail address, a name or an id of a principal of the organization.",
    )

    class Meta:
        model = Group
        fields = ("organization", "name", "description", "external_id")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and not self.instance._state.adding:
            self.initial["people"] = [row.email or row.pk for row in members_of(self.instance)]

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        data = self.cleaned_data
        organization = data.get("organization") or getattr(self.instance, "organization", None)
        if isinstance(organization, Organization) and "people" in data:
            try:
                data["people"] = principals_named(self.actor, organization, data["people"])
            except ValidationError as refused:
                self.add_error("people", refused)
        return cleaned


def principals_named(actor: Actor, organization: Organization, names: list[str]) -> list[Principal]:
    """Raises ValidationError for a name that nobody has, or several."""
    visible = for_actor(actor, Principal.objects.filter(organization=organization), Verb.PRINCIPAL_VIEW)
    principals: list[Principal] = []
    unknown: list[str] = []
    several: list[str] = []
    for name in dict.fromkeys(names):
        rows = list(visible.filter(Q(pk=name) | Q(email__iexact=name) | Q(display_name__iexact=name))[:2])
        if len(rows) == 1:
            principals.append(rows[0])
        else:
            (several if rows else unknown).append(name)
    problems = []
    if unknown:
        problems.append(f"Nobody in {organization} is called: {_listed(unknown)}.")
    if several:
        problems.append(f"More than one principal is called: {_listed(several)}. Use the id.")
    if problems:
        raise ValidationError(problems)
    return principals


def members_of(group: Group) -> QuerySet[Principal]:
    """The members of a group, in the order that people look for them."""
    places = GroupMember.objects.filter(group=group).values("principal")
    return Principal.objects.filter(pk__in=places).order_by("display_name", "pk")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
