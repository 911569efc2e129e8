"""REST routes of the fleet: pods, and how far a revision has got."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.changes import queries as changes
from controlplane.fleet import actions
from controlplane.fleet.models import Pod
from controlplane.fleet.register import queries
from controlplane.rest.caller import actor_of
from controlplane.rest.problems import Conflict
from controlplane.rest.resources import Resource, StrictSerializer
from controlplane.tenancy.permissions import Forbidden, Verb, grants_of


class NotUnderstoodOut(serializers.Serializer[Any]):
    """A resource of the configuration that a pod is too old for."""

    kind = serializers.CharField()
    id = serializers.SerializerMethodField(help_text="For operators: pods serve many organizations. Else empty.")
    problem = serializers.CharField()

    def get_id(self, item: dict[str, str]) -> str:
        return item["id"] if actor_of(self.context["request"]).operator else ""


class PodOut(serializers.ModelSerializer[Pod]):
    evicted = serializers.BooleanField(help_text="Its certificate is refused; it may come back with another one.")
    not_understood = NotUnderstoodOut(many=True, help_text="At most twenty; what they cover is refused.")
    not_understood_since = serializers.SerializerMethodField()

    class Meta:
        model = Pod
        fields = (
            "pod_id", "identity", "certificate", "evicted", "name", "version", "address", "connected", "state", "epoch",
            "applied_revision", "applied_at",
            "started_at", "first_seen_at", "last_heartbeat_at", "nack_revision", "nack_problem",
            "not_understood", "not_understood_count", "not_understood_since", "refused_keys",
            "clock_ahead_ms", "problem",
            "open_exchanges", "spool_records", "requests_total", "refusals_total",
        )  # fmt: skip
        read_only_fields = fields

    def get_not_understood_since(self, pod: Pod) -> datetime | None:
        return pod.not_understood_since if pod.not_understood_count else None


class EvictIn(StrictSerializer):
    reason = serializers.CharField(max_length=200, required=False, help_text="For the audit.")


class PodReachOut(serializers.Serializer[Any]):
    pod_id = serializers.CharField(source="pod.pod_id")
    name = serializers.CharField(source="pod.name")
    reach = serializers.ChoiceField([(reach.value, reach.value) for reach in queries.ReachState])
    after_s = serializers.FloatField(allow_null=True, help_text="From commit to the pod's acknowledgement. Seconds.")
    fails_closed_at = serializers.DateTimeField(allow_null=True)
    problem = serializers.CharField(help_text="Why it refuses the revision, or what of it it does not understand.")


class ConvergenceOut(serializers.Serializer[Any]):
    """`settled`: no pod serves anything older than the revision any more."""

    revision = serializers.IntegerField()
    committed_at = serializers.DateTimeField(allow_null=True)
    live = serializers.IntegerField()
    slowest_s = serializers.FloatField(allow_null=True)
    settled = serializers.BooleanField()
    pods = PodReachOut(many=True)


class Pods(Resource):
    """Data-plane processes. They belong to no organization: whoever may see the fleet sees all of it."""

    view_verb = Verb.FLEET_VIEW
    queryset = Pod.objects.all()
    output = PodOut
    inputs = {"evict": EvictIn}
    outputs = {"convergence": ConvergenceOut}
    filters = ("state", "connected", "name")

    def get_queryset(self) -> QuerySet[Any]:
        if not self.actor.operator and not any(grant.reach(self.view_verb) for grant in grants_of(self.actor)):
            raise Forbidden(self.view_verb)
        return queries.with_evictions(Pod.objects.all())

    @action(detail=True, methods=["post"])
    def evict(self, request: Request, pk: str) -> Response:
        pod, data = self.get_object(), self.read(request)
        try:
            actions.evict(pod, by=self.actor, **data)
        except ValidationError as refused:
            raise Conflict(refused.messages[0]) from refused
        return self.show(self.get_object())

    @action(detail=False, methods=["get"], url_path=r"convergence/(?P<revision>[0-9]{1,18}|head)")
    def convergence(self, request: Request, revision: str) -> Response:
        self.get_queryset()
        number = changes.head().revision if revision == "head" else int(revision)
        return self.show(queries.convergence(number))
