"""Verbs on groups and who is in them: permission, validation, mutation and audit in one transaction."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.core.exceptions import ValidationError

from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.tenancy.models import Group, GroupMember, Organization, Principal
from controlplane.tenancy.permissions import Verb, require
from controlplane.tenancy.scope import Place

CHANGEABLE = frozenset({"name", "description", "external_id"})


def create_group(
    *, by: Actor, organization: Organization, name: str, description: str = "", external_id: str = ""
) -> Group:
    require(by, Verb.GROUP_CHANGE, Place(organization.pk))
    row = Group(organization=organization, name=name, description=description, external_id=external_id)
    with change_set(by) as change:
        row.full_clean()
        row.save(force_insert=True)
        change.say("group.created", row)
    return row


def update_group(group: Group, *, by: Actor, **fields: Any) -> Group:
    """Fields: see CHANGEABLE."""
    unknown = sorted(set(fields) - CHANGEABLE)
    if unknown:
        raise ValidationError({name: f"cannot be set; fields are {', '.join(sorted(CHANGEABLE))}" for name in unknown})
    require(by, Verb.GROUP_CHANGE, group)
    with change_set(by) as change:
        for name, value in fields.items():
            setattr(group, name, value)
        group.full_clean()
        group.save(update_fields=[*fields, "updated_at"])
        change.say("group.updated", group)
    return group


def delete_group(group: Group, *, by: Actor) -> None:
    """Its members leave it. A budget on the group covers nobody from then on."""
    require(by, Verb.GROUP_CHANGE, group)
    with change_set(by) as change:
        Group.objects.filter(pk=group.pk).delete()
        change.say("group.deleted", group)


def add_members(group: Group, principals: Collection[Principal], *, by: Actor) -> int:
    """Adds those who are not in it yet. Returns their number."""
    require(by, Verb.GROUP_CHANGE, group)
    strangers = [person for person in principals if person.organization_id != group.organization_id]
    if strangers:
        raise ValidationError({"principals": "members are principals of the group's organization"})
    with change_set(by) as change:
        members = set(GroupMember.objects.filter(group=group).values_list("principal_id", flat=True))
        new = sorted({person.pk for person in principals} - members)
        GroupMember.objects.bulk_create(
            [GroupMember(organization_id=group.organization_id, group=group, principal_id=pk) for pk in new],
            batch_size=500,
        )
        if new:
            change.say("group.members_added", group, members=new)
    return len(new)


def remove_members(group: Group, principals: Collection[Principal], *, by: Actor) -> int:
    """Returns the number of those who were in it. What they spent stays on their accounts, should they come back."""
    require(by, Verb.GROUP_CHANGE, group)
    with change_set(by) as change:
        leaving = GroupMember.objects.filter(group=group, principal__in=[person.pk for person in principals])
        left = sorted(leaving.values_list("principal_id", flat=True))
        leaving.delete()
        if left:
            change.say("group.members_removed", group, members=left)
    return len(left)
