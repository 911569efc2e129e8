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

from controlplane.rest.filters import LONGEST_CURSOR, Parameter, ParameterKind
from controlplane.rest.paging import Pages
from controlplane.rest.resources import Resource
from controlplane.tenancy.permissions import Verb
from controlplane.usage import queries
from controlplane.usage.groups import Mark, Order, names, page
from controlplane.usage.models import UsageRecord
from controlplane.usage.queries import LARGEST_PAGE, By, Filter

TIMES = ("since", "until")


class UsagePartOut(serializers.Serializer[Any]):
    """What another model used than the one that answers; beside `units`, not in them."""

    model = serializers.CharField()
    kind = serializers.CharField()
    units = serializers.DictField(child=serializers.IntegerField())
    service_tier = serializers.CharField()
    speed = serializers.CharField()


class UsageRecordOut(serializers.ModelSerializer[UsageRecord]):
    units = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    parts = UsagePartOut(many=True, read_only=True)
    unknown_calls = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    tags = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = UsageRecord
        fields = (
            "id", "request_id", "attempt", "correction", "state", "started_at", "ended_at", "received_at",
            "organization_id", "team_id", "project_id", "principal_id", "key_id", "provider_id", "provider_kind",
            "dialect", "operation", "model_requested", "model", "model_reported", "client", "client_version", "session",
            "streaming", "outcome", "refusal_code", "refusal_budget_id", "http_status", "source", "why",
            "unconfirmed", "units", "parts", "unknown_calls",
            "input_tokens", "cached_tokens", "output_tokens", "service_tier", "cost_nano", "priced", "price_version",
            "first_byte_ms", "duration_ms", "revision", "trace_id", "span_id", "request_bytes", "response_bytes",
            "provider_request_id", "tags", "metadata", "end_user_id",
        )  # fmt: skip
        read_only_fields = fields


class TotalOut(serializers.Serializer[Any]):
    """Money in nano-dollars."""

    of = serializers.CharField(help_text="The group's id, name, day or hour (UTC); empty: of nobody.")
    name = serializers.CharField(help_text="What it is called now; empty for what is gone or not yours to see.")
    attempts = serializers.IntegerField()
    refused = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    cached_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cost_nano = serializers.IntegerField()
    unconfirmed = serializers.IntegerField(help_text="Attempts of which the provider did not say what they cost.")
    unconfirmed_cost_nano = serializers.IntegerField(help_text="The part of cost_nano that is theirs.")


class TotalsOut(serializers.Serializer[Any]):
    by = serializers.ChoiceField([(by.value, by.value) for by in By])
    order = serializers.ChoiceField([(order.value, order.value) for order in Order])
    total = TotalOut(help_text="Of everything that the filters leave, on each page.")
    groups = TotalOut(many=True)
    truncated = serializers.BooleanField(help_text="There are more groups: ask again with next_cursor.")
    next_cursor = serializers.CharField(allow_null=True)


class Usage(Resource):
    """One record per attempt, newest first; corrections are records of their own, so sums are always right."""

    view_verb = Verb.USAGE_VIEW
    queryset = UsageRecord.objects.all()
    output = UsageRecordOut
    outputs = {"totals": TotalsOut}
    times = "started_at"
    filters = tuple(field.name for field in fields(Filter) if field.name not in TIMES)
    filtered_actions = ("list", "totals")
    parameters = {
        "totals": (
            Parameter("by", ParameterKind.CHOICE, tuple(by.value for by in By), "What is summed by; default: day."),
            Parameter(
                "order",
                ParameterKind.CHOICE,
                tuple(order.value for order in Order),
                "cost: the dearest first, the default. of: each group exactly once, whatever is booked meanwhile. "
                "Days and hours come in their own order always.",
            ),
            Parameter("limit", ParameterKind.INTEGER, meaning="Groups of one page.", least=1, most=LARGEST_PAGE),
            Parameter(
                "cursor",
                meaning="`next_cursor` of the page before. Records received since the first page do not count.",
                longest=LONGEST_CURSOR,
            ),
        )
    }
    page_ordering = ("-started_at", "-id")

    def get_queryset(self) -> QuerySet[Any]:
        return queries.visible_to(self.actor)

    def filtered(self, request: Request) -> QuerySet[Any]:
        filters = {name: value for name, value in self.asked.items() if name in self.filters or name in TIMES}
        return Filter(**filters).apply(self.get_queryset())

    @action(detail=False, methods=["get"], url_path="totals")
    def totals(self, request: Request) -> Response:
        """Sums of what the filters leave, in groups; by day unless asked otherwise."""
        by, order = By(self.asked.get("by", By.DAY)), Order(self.asked.get("order", Order.COST))
        after = None
        if "cursor" in self.asked:
            try:
                after = Mark.parse(self.asked["cursor"], by, order)
            except ValueError:
                raise ParseError(f"{Pages.invalid_cursor_message} It goes with the same by and order.") from None
        sums = page(self.filtered(request), by, order=order, after=after, size=self.asked.get("limit", LARGEST_PAGE))
        called = names(self.actor, by, [group.of for group in sums.groups])
        return self.show(
            {
                "by": by.value,
                "order": order.value,
                "total": {**asdict(sums.total), "name": ""},
                "groups": [{**asdict(group), "name": called.get(group.of, "")} for group in sums.groups],
                "truncated": sums.next is not None,
                "next_cursor": None if sums.next is None else str(sums.next),
            }
        )
