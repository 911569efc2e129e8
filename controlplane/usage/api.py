"""REST routes of the ledger: records, and sums of them."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.rest.resources import PAGE_PARAMETERS, Resource
from controlplane.tenancy.permissions import Verb
from controlplane.usage import queries
from controlplane.usage.models import UsageRecord
from controlplane.usage.queries import By, Filter

TIMES = ("since", "until")


class UsageRecordOut(serializers.ModelSerializer[UsageRecord]):
    units = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    tags = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = UsageRecord
        fields = (
            "id", "request_id", "attempt", "correction", "state", "started_at", "ended_at", "received_at",
            "organization_id", "team_id", "project_id", "principal_id", "key_id", "provider_id", "provider_kind",
            "dialect", "operation", "model_requested", "model", "model_reported", "client", "client_version", "session",
            "streaming", "outcome", "refusal_code", "http_status", "source", "units", "input_tokens", "cached_tokens",
            "output_tokens", "service_tier", "cost_nano", "priced", "price_version", "first_byte_ms", "duration_ms",
            "revision", "trace_id", "span_id", "request_bytes", "response_bytes", "provider_request_id", "tags",
            "metadata", "end_user_id",
        )  # fmt: skip
        read_only_fields = fields


class TotalOut(serializers.Serializer[Any]):
    """Money in nano-dollars. `of`: the group's id, name or day."""

    of = serializers.CharField()
    attempts = serializers.IntegerField()
    refused = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cost_nano = serializers.IntegerField()


class TotalsOut(serializers.Serializer[Any]):
    by = serializers.ChoiceField([(by.value, by.value) for by in By])
    total = TotalOut()
    groups = TotalOut(many=True)


class Usage(Resource):
    """One record per attempt, newest first; corrections are records of their own, so sums are always right."""

    view_verb = Verb.USAGE_VIEW
    queryset = UsageRecord.objects.all()
    output = UsageRecordOut
    outputs = {"totals": TotalsOut}
    filters = tuple(field.name for field in fields(Filter))
    filtered_actions = ("list", "totals")
    parameters = {"totals.by": f"What is summed by: {', '.join(by.value for by in By)}."}
    page_ordering = ("-started_at", "-id")

    def get_queryset(self) -> QuerySet[Any]:
        return queries.visible_to(self.actor)

    def filtered(self, request: Request) -> QuerySet[Any]:
        given: dict[str, Any] = {}
        for name, value in request.query_params.dict().items():
            if name in TIMES:
                given[name] = self._time(name, value)
            elif name in self.filters:
                given[name] = value
            elif name not in PAGE_PARAMETERS and not (name == "by" and self.action == "totals"):
                raise ParseError(f"{name} is not a parameter here; there is: {', '.join(self.filters)}")
        return Filter(**given).apply(self.get_queryset())

    def _time(self, name: str, value: str) -> Any:
        try:
            return serializers.DateTimeField().to_internal_value(value)
        except serializers.ValidationError:
            raise ParseError(f"{name} is a time such as 2026-11-24T00:00:00Z") from None

    @action(detail=False, methods=["get"], url_path="totals")
    def totals(self, request: Request) -> Response:
        """Sums of what the filters leave, in groups; by day unless asked otherwise."""
        wanted = request.query_params.get("by", By.DAY.value)
        if wanted not in {by.value for by in By}:
            raise ParseError(f"by is one of: {', '.join(by.value for by in By)}")
        rows = self.filtered(request)
        groups = [asdict(group) for group in queries.totals(rows, By(wanted))]
        return self.show({"by": wanted, "total": asdict(queries.total(rows)), "groups": groups})
