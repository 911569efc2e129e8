"""Groups: principals that are treated alike. Members are typed, one per line, as people name each other."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest

from controlplane.changes.actor import Actor
from controlplane.console.access import actor_of
from controlplane.console.base import ConsoleAdmin
from controlplane.console.cells import NOTHING, link
from controlplane.console.decorators import display
from controlplane.console.fields import LinesField
from controlplane.console.site import site
from controlplane.tenancy import group_actions
from controlplane.tenancy.models import Group, GroupMember, Organization, Principal
from controlplane.tenancy.permissions import Verb
from controlplane.tenancy.queries import for_actor

MOST_SHOWN = 200
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
            self.initial["people"] = [row.email or row.pk for row in _members(self.instance)]

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
    found: list[Principal] = []
    unknown: list[str] = []
    several: list[str] = []
    for name in dict.fromkeys(names):
        rows = list(visible.filter(Q(pk=name) | Q(email__iexact=name) | Q(display_name__iexact=name))[:2])
        if len(rows) == 1:
            found.append(rows[0])
        else:
            (several if rows else unknown).append(name)
    problems = []
    if unknown:
        problems.append(f"Nobody in {organization} is called: {_listed(unknown)}.")
    if several:
        problems.append(f"More than one principal is called: {_listed(several)}. Use the id.")
    if problems:
        raise ValidationError(problems)
    return found


class GroupAdmin(ConsoleAdmin):
    view_verb = Verb.GROUP_VIEW
    add_verb = Verb.GROUP_CHANGE
    change_verb = Verb.GROUP_CHANGE
    delete_verb = Verb.GROUP_CHANGE
    choice_verbs = {"organization": Verb.ORGANIZATION_VIEW}
    fixed_fields = ("organization",)
    list_display = ("name", "shown_organization", "member_count", "description")
    list_filter = ("organization",)
    list_select_related = ("organization",)
    search_fields = ("name", "external_id", "id")
    ordering = ("name",)
    fields = ("organization", "name", "people", "description", "external_id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return cast("QuerySet[Any]", super().get_queryset(request).annotate(members_=Count("members", distinct=True)))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = type("GroupForm", (GroupForm,), {"actor": actor_of(request)})
        return super().get_form(request, obj, change, **kwargs, form=form)

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: Group) -> str:
        return link(row.organization)

    @display(description="Members")
    def member_count(self, row: Any) -> int:
        return int(row.members_)

    @display(description="Members")
    def people(self, row: Group) -> str:
        """For those who only look."""
        return ", ".join(map(str, _members(row)[:MOST_SHOWN])) or NOTHING

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Group:
        members = data.pop("people")
        with transaction.atomic():
            group = group_actions.create_group(by=actor_of(request), **data)
            group_actions.add_members(group, members, by=actor_of(request))
        return group

    def change(self, request: HttpRequest, row: Group, data: dict[str, Any]) -> Group:
        with transaction.atomic():
            if "people" in data:
                wanted, held = {one.pk: one for one in data.pop("people")}, {one.pk: one for one in _members(row)}
                group_actions.add_members(row, [wanted[pk] for pk in wanted.keys() - held], by=actor_of(request))
                group_actions.remove_members(row, [held[pk] for pk in held.keys() - wanted], by=actor_of(request))
            return group_actions.update_group(row, by=actor_of(request), **data) if data else row

    def remove(self, request: HttpRequest, row: Group) -> None:
        group_actions.delete_group(row, by=actor_of(request))


def _members(group: Group) -> QuerySet[Principal]:
    places = GroupMember.objects.filter(group=group).values("principal")
    return Principal.objects.filter(pk__in=places).order_by("display_name", "pk")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


site.register(Group, GroupAdmin)
