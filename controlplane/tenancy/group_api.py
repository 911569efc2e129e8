"""REST routes of groups: principals that are treated alike."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.rest.resources import Reference, Resource, StrictSerializer
from controlplane.tenancy import group_actions
from controlplane.tenancy.models import Group, GroupMember, Organization, Principal
from controlplane.tenancy.permissions import Verb, require

MOST_AT_ONCE = 500


class GroupOut(serializers.ModelSerializer[Group]):
    organization_id = serializers.CharField(read_only=True)

    class Meta:
        model = Group
        fields = ("id", "organization_id", "name", "description", "external_id", "created_at", "updated_at")
        read_only_fields = fields


class GroupChange(StrictSerializer):
    name = serializers.CharField(max_length=120)
    description = serializers.CharField(max_length=500, required=False, allow_blank=True)
    external_id = serializers.CharField(max_length=200, required=False, allow_blank=True)


class GroupIn(GroupChange):
    organization_id = Reference(Organization, Verb.ORGANIZATION_VIEW, source="organization")


class MembersIn(StrictSerializer):
    principal_ids = serializers.ListField(
        child=Reference(Principal, Verb.PRINCIPAL_VIEW), min_length=1, max_length=MOST_AT_ONCE
    )


class MembersOut(serializers.Serializer[Any]):
    principal_ids = serializers.ListField(child=serializers.CharField())


class Groups(Resource):
    """Principals that are treated alike: a budget on a group is an allowance for each member."""

    view_verb = Verb.GROUP_VIEW
    queryset = Group.objects.all()
    output = GroupOut
    inputs = {"create": GroupIn, "partial_update": GroupChange, "add": MembersIn, "remove": MembersIn}
    outputs = {"members": MembersOut, "add": MembersOut, "remove": MembersOut}
    filters = ("organization_id", "name", "external_id")

    def create(self, request: Request) -> Response:
        return self.show(group_actions.create_group(by=self.actor, **self.read(request)), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        return self.show(group_actions.update_group(self.get_object(), by=self.actor, **self.read(request)))

    def destroy(self, request: Request, pk: str) -> Response:
        group_actions.delete_group(self.get_object(), by=self.actor)
        return Response(status=204)

    @action(detail=True, methods=["get"])
    def members(self, request: Request, pk: str) -> Response:
        return self._members(self.get_object())

    @action(detail=True, methods=["post"], url_path="members/add")
    def add(self, request: Request, pk: str) -> Response:
        group = self.get_object()
        require(self.actor, Verb.GROUP_CHANGE, group)
        group_actions.add_members(group, self.read(request)["principal_ids"], by=self.actor)
        return self._members(group)

    @action(detail=True, methods=["post"], url_path="members/remove")
    def remove(self, request: Request, pk: str) -> Response:
        group = self.get_object()
        require(self.actor, Verb.GROUP_CHANGE, group)
        group_actions.remove_members(group, self.read(request)["principal_ids"], by=self.actor)
        return self._members(group)

    def _members(self, group: Group) -> Response:
        members = GroupMember.objects.filter(group=group).order_by("principal_id")
        return self.show({"principal_ids": list(members.values_list("principal_id", flat=True))})
