"""REST routes of budgets, their overrides, their books and what crossed a threshold. Money in nano-dollars."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.budgets import actions, queries, validation
from controlplane.budgets.models import Account, Budget, Crossing, OnBreach, OutageRule, Override, ScopeKind, Window
from controlplane.budgets.queries import Coverage, Node, Standing
from controlplane.providers.models import Provider
from controlplane.rest.filters import Parameter, ParameterKind
from controlplane.rest.resources import Nothing, Reference, Resource, StrictSerializer
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Verb, organizations_of, require

WHOSE = Parameter("organization_id", meaning="Whose.", required=True)


def words_of(model: type[Model], field: str) -> str:
    return str(getattr(model._meta.get_field(field), "help_text", ""))


def percents(**kwargs: Any) -> serializers.ListField:
    child = serializers.IntegerField(min_value=1, max_value=validation.HIGHEST_THRESHOLD)
    return serializers.ListField(child=child, max_length=validation.MOST_THRESHOLDS, **kwargs)


class BudgetOut(serializers.ModelSerializer[Budget]):
    organization_id = serializers.CharField(read_only=True)
    provider_id = serializers.CharField(read_only=True, allow_null=True)
    thresholds = percents(read_only=True)

    class Meta:
        model = Budget
        fields = (
            "id", "organization_id", "team_id", "name", "scope_kind", "scope_id", "scope_name", "provider_id",
            "model_pattern", "window", "timezone", "anchor", "resets", "limit_nano", "on_breach", "outage",
            "overdraft_nano", "thresholds", "contact", "enabled", "count_earlier", "lease_epoch", "created_at",
            "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class BudgetChange(StrictSerializer):
    name = serializers.CharField(max_length=120)
    limit_nano = serializers.IntegerField(min_value=0, help_text="1 dollar is 1,000,000,000.")
    window = serializers.ChoiceField(Window.choices, required=False)
    timezone = serializers.CharField(max_length=64, required=False)
    anchor = serializers.IntegerField(min_value=0, max_value=31, required=False)
    provider_id = Reference(Provider, Verb.PROVIDER_VIEW, source="provider", required=False, allow_null=True)
    model_pattern = serializers.CharField(max_length=200, required=False, allow_blank=True)
    on_breach = serializers.ChoiceField(OnBreach.choices, required=False)
    outage = serializers.ChoiceField(OutageRule.choices, required=False)
    overdraft_nano = serializers.IntegerField(min_value=0, required=False, allow_null=True)
    thresholds = percents(required=False)
    contact = serializers.CharField(max_length=200, required=False, allow_blank=True)
    count_earlier = serializers.BooleanField(required=False, help_text=words_of(Budget, "count_earlier"))


class BudgetIn(BudgetChange):
    organization_id = Reference(Organization, Verb.ORGANIZATION_VIEW, source="organization")
    scope_kind = serializers.ChoiceField(ScopeKind.choices)
    scope_id = serializers.CharField(max_length=40)
    enabled = serializers.BooleanField(required=False)


class ResetIn(StrictSerializer):
    reason = serializers.CharField(max_length=300, required=False, allow_blank=True)


class OverrideIn(StrictSerializer):
    extra_nano = serializers.IntegerField(min_value=1)
    until = serializers.DateTimeField(required=False, allow_null=True, help_text="Null: until it is withdrawn.")
    reason = serializers.CharField(max_length=300)
    approved_by = serializers.CharField(max_length=200, required=False, allow_blank=True)


class OverrideOut(serializers.ModelSerializer[Override]):
    organization_id = serializers.CharField(read_only=True)
    budget_id = serializers.CharField(read_only=True)

    class Meta:
        model = Override
        fields = (
            "id", "organization_id", "budget_id", "extra_nano", "until", "reason", "approved_by", "withdrawn_at",
            "created_at",
        )  # fmt: skip
        read_only_fields = fields


class StandingOut(serializers.Serializer[Standing]):
    """One allowance at this moment. `runs_out_at`, `projected_nano`: if spending goes on as it did in this window."""

    budget_id = serializers.CharField(source="budget.pk")
    member_id = serializers.CharField(help_text="The principal, of a budget on a group; else empty.")
    window_key = serializers.CharField()
    starts_at = serializers.DateTimeField(allow_null=True)
    counts_from = serializers.DateTimeField(
        allow_null=True, help_text="When the budget began to count, if that was within the window."
    )
    earlier_nano = serializers.IntegerField(help_text=words_of(Account, "earlier_nano"))
    adding_up = serializers.BooleanField(help_text=words_of(Account, "adding_up"))
    ends_at = serializers.DateTimeField(allow_null=True)
    limit_nano = serializers.IntegerField(help_text="With the overrides that are live.")
    settled_nano = serializers.IntegerField()
    held_nano = serializers.IntegerField(help_text="Set aside by running requests, or leased to pods.")
    remaining_nano = serializers.IntegerField()
    percent = serializers.IntegerField()
    exhausted = serializers.BooleanField()
    burn_nano_per_hour = serializers.IntegerField()
    projected_nano = serializers.IntegerField(allow_null=True)
    runs_out_at = serializers.DateTimeField(allow_null=True)


class StandingsOut(serializers.Serializer[Any]):
    standings = StandingOut(many=True)


class NodeOut(serializers.Serializer[Node]):
    """A place in an organization with the budgets on it, and the places in it."""

    kind = serializers.ChoiceField(ScopeKind.choices)
    id = serializers.CharField()
    name = serializers.CharField()
    standings = StandingOut(many=True)
    children = serializers.SerializerMethodField()

    @extend_schema_field(serializers.ListField(child=serializers.DictField()))
    def get_children(self, node: Node) -> Any:
        return [NodeOut(child).data for child in node.children]


class CoverageOut(serializers.Serializer[Coverage]):
    """Whom a budget on a scope would cover."""

    keys = serializers.IntegerField()
    principals = serializers.IntegerField()
    projects = serializers.IntegerField()
    accounts = serializers.IntegerField(help_text="How many allowances that makes.")
    sample = serializers.ListField(child=serializers.CharField(), help_text="Names of some of the keys.")


class Budgets(Resource):
    """Limits in money on a scope and a window."""

    view_verb = Verb.BUDGET_VIEW
    queryset = Budget.objects.all()
    output = BudgetOut
    inputs = {
        "create": BudgetIn,
        "partial_update": BudgetChange,
        "enable": Nothing,
        "disable": Nothing,
        "reset": ResetIn,
        "override": OverrideIn,
    }
    outputs = {"override": OverrideOut, "standings": StandingsOut, "tree": NodeOut, "coverage": CoverageOut}
    creating = ("override",)
    filters = ("organization_id", "team_id", "scope_kind", "scope_id", "window", "on_breach", "enabled")
    parameters = {
        "tree": (WHOSE,),
        "coverage": (
            WHOSE,
            Parameter("scope_kind", ParameterKind.CHOICE, tuple(ScopeKind.values), required=True),
            Parameter("scope_id", meaning="Of that kind.", required=True),
        ),
    }

    def create(self, request: Request) -> Response:
        return self.show(actions.create_budget(by=self.actor, **self.read(request)), 201)

    def partial_update(self, request: Request, pk: str) -> Response:
        return self.show(actions.update_budget(self.get_object(), by=self.actor, **self.read(request)))

    def destroy(self, request: Request, pk: str) -> Response:
        actions.delete_budget(self.get_object(), by=self.actor)
        return Response(status=204)

    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: str) -> Response:
        budget = self.get_object()
        self.read(request)
        return self.show(actions.enable_budget(budget, by=self.actor))

    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: str) -> Response:
        budget = self.get_object()
        self.read(request)
        return self.show(actions.disable_budget(budget, by=self.actor))

    @action(detail=True, methods=["post"])
    def reset(self, request: Request, pk: str) -> Response:
        """Count from nothing again; the window until now stays in the books."""
        return self.show(actions.reset_budget(self.get_object(), by=self.actor, **self.read(request)))

    @action(detail=True, methods=["post"])
    def override(self, request: Request, pk: str) -> Response:
        """More money for a while."""
        budget = self.get_object()
        require(self.actor, Verb.BUDGET_OVERRIDE, budget)
        data = {"until": None, **self.read(request)}
        return self.show(actions.override_budget(budget, by=self.actor, **data), 201)

    @action(detail=True, methods=["get"])
    def standings(self, request: Request, pk: str) -> Response:
        """What is spent, held and left in the window that runs; of a group's budget, for each member."""
        return self.show({"standings": queries.member_standings(self.get_object())})

    @action(detail=False, methods=["get"])
    def tree(self, request: Request) -> Response:
        """Every budget of an organization that you may see, where it belongs."""
        return self.show(queries.tree(self.actor, self._organization()))

    @action(detail=False, methods=["get"])
    def coverage(self, request: Request) -> Response:
        """Look before you make one."""
        organization = self._organization()
        return self.show(queries.preview(self.actor, organization, self.asked["scope_kind"], self.asked["scope_id"]))

    def _organization(self) -> Organization:
        organization = organizations_of(self.actor).filter(pk=self.asked["organization_id"]).first()
        if organization is None:
            raise ParseError("organization_id names an organization that you may see")
        return organization


class Overrides(Resource):
    """More money for a while: who approved it, why, until when. Made on a budget, withdrawn here."""

    view_verb = Verb.BUDGET_VIEW
    queryset = Override.objects.all()
    output = OverrideOut
    inputs = {"withdraw": Nothing}
    filters = ("organization_id", "budget_id")

    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        override = self.get_object()
        self.read(request)
        return self.show(actions.withdraw_override(override, by=self.actor))


class AccountOut(serializers.ModelSerializer[Account]):
    class Meta:
        model = Account
        fields = (
            "id", "organization_id", "budget_id", "member_id", "window_key", "starts_at", "ends_at", "limit_nano",
            "settled_nano", "held_nano", "overdraft_used_nano", "overdraft_limit_nano", "excess_nano", "earlier_nano",
            "adding_up", "opened_at", "drawn_at",
        )  # fmt: skip
        read_only_fields = fields


class Accounts(Resource):
    """The books: one account for every window of a budget that was ever drawn on, also of deleted budgets."""

    view_verb = Verb.BUDGET_VIEW
    queryset = Account.objects.all()
    output = AccountOut
    filters = ("organization_id", "budget_id", "member_id", "window_key")

    def get_queryset(self) -> QuerySet[Any]:
        return queries.accounts_for(self.actor)


class CrossingOut(serializers.ModelSerializer[Crossing]):
    account_id = serializers.IntegerField(read_only=True)

    class Meta:
        model = Crossing
        fields = (
            "id", "account_id", "organization_id", "budget_id", "member_id", "window_key", "threshold", "limit_nano",
            "settled_nano", "at",
        )  # fmt: skip
        read_only_fields = fields


class Crossings(Resource):
    """Thresholds that were reached, once per window."""

    view_verb = Verb.BUDGET_VIEW
    queryset = Crossing.objects.all()
    output = CrossingOut
    filters = ("organization_id", "budget_id", "member_id", "threshold")

    def get_queryset(self) -> QuerySet[Any]:
        return queries.crossings_for(self.actor)
