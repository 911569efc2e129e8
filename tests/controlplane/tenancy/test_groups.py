"""Groups: who is in them, who decides, and that pods hear of it with the principal."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from controlplane.changes.models import AuditEvent, ConfigChange
from controlplane.changes.queries import head
from controlplane.tenancy import group_actions as actions
from controlplane.tenancy.models import GroupMember, Role
from controlplane.tenancy.permissions import Forbidden, NoSuchObject
from tests.controlplane import factories
from tests.controlplane.factories import SYSTEM

pytestmark = pytest.mark.django_db


def touched() -> set[tuple[str, str]]:
    return set(ConfigChange.objects.filter(revision=head().revision).values_list("kind", "resource_id"))


def test_joining_and_leaving_touches_the_principals_and_says_who_in_the_audit() -> None:
    group = factories.group()
    ann, bob = factories.principal(group.organization), factories.principal(group.organization)
    assert actions.add_members(group, [ann, bob], by=SYSTEM) == 2
    assert touched() == {("principal", ann.pk), ("principal", bob.pk)}
    assert actions.add_members(group, [ann], by=SYSTEM) == 0
    assert actions.remove_members(group, [ann], by=SYSTEM) == 1
    assert touched() == {("principal", ann.pk)}
    told = list(AuditEvent.objects.filter(target_id=group.pk).order_by("seq").values_list("action", flat=True))
    assert told == ["group.created", "group.members_added", "group.members_removed"]
    assert AuditEvent.objects.filter(target_id=group.pk).latest("seq").details == {"members": [ann.pk]}


def test_a_deleted_group_lets_its_members_go() -> None:
    ann = factories.principal()
    group = factories.group(ann.organization, ann)
    actions.delete_group(group, by=SYSTEM)
    assert not GroupMember.objects.exists()
    assert ("principal", ann.pk) in touched()


def test_strangers_and_taken_names_are_refused() -> None:
    group = factories.group()
    with pytest.raises(ValidationError, match="principals of the group's organization"):
        actions.add_members(group, [factories.principal()], by=SYSTEM)
    with pytest.raises(ValidationError, match="already exists"):
        actions.create_group(by=SYSTEM, organization=group.organization, name=group.name)
    with pytest.raises(ValidationError, match="fields are"):
        actions.update_group(group, by=SYSTEM, organization=factories.organization())


def test_who_may_not_change_a_group() -> None:
    group = factories.group()
    viewer, _ = factories.member(group.organization, Role.VIEWER)
    stranger, _ = factories.member(factories.organization(), Role.OWNER)
    with pytest.raises(Forbidden):
        actions.update_group(group, by=viewer, name="Mine")
    with pytest.raises(NoSuchObject):
        actions.delete_group(group, by=stranger)
    admin, _ = factories.member(group.organization, Role.ADMIN)
    assert actions.update_group(group, by=admin, name="Everybody").name == "Everybody"
