"""Groups: principals that are treated alike."""

from __future__ import annotations

from typing import Any, cast

from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from controlplane.console.access import actor_of
from controlplane.console.addresses import link
from controlplane.console.base import ConsoleAdmin
from controlplane.console.decorators import display
from controlplane.console.groups.form import GroupForm, members_of
from controlplane.console.site import site
from controlplane.pages.cells import NOTHING
from controlplane.tenancy import group_actions
from controlplane.tenancy.models import Group
from controlplane.tenancy.permissions import Verb

MOST_SHOWN = 200


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
        """The members, for those who only look."""
        return ", ".join(map(str, members_of(row)[:MOST_SHOWN])) or NOTHING

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Group:
        members = data.pop("people")
        with transaction.atomic():
            group = group_actions.create_group(by=actor_of(request), **data)
            group_actions.add_members(group, members, by=actor_of(request))
        return group

    def change(self, request: HttpRequest, row: Group, data: dict[str, Any]) -> Group:
        with transaction.atomic():
            if "people" in data:
                wanted, held = {one.pk: one for one in data.pop("people")}, {one.pk: one for one in members_of(row)}
                group_actions.add_members(row, [wanted[pk] for pk in wanted.keys() - held], by=actor_of(request))
                group_actions.remove_members(row, [held[pk] for pk in held.keys() - wanted], by=actor_of(request))
            return group_actions.update_group(row, by=actor_of(request), **data) if data else row

    def remove(self, request: HttpRequest, row: Group) -> None:
        group_actions.delete_group(row, by=actor_of(request))


site.register(Group, GroupAdmin)
