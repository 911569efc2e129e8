"""`Resource`: rows of one model as a REST route. Reading is here; writing is what an app's actions do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

from django.db.models import Model, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.viewsets import GenericViewSet

from controlplane.changes.actor import Actor
from controlplane.rest import filters, idempotency
from controlplane.rest.caller import actor_of
from controlplane.rest.filters import Parameter, ParameterKind
from controlplane.rest.paging import Pages
from controlplane.rest.schema import Schema
from controlplane.rest.visibility import visible_rows

PAGE_PARAMETERS = (
    Parameter("limit", ParameterKind.INTEGER, meaning="Rows of one page.", least=1, most=Pages.max_page_size),
    Parameter("cursor", meaning="`next_cursor` of the page before.", longest=filters.LONGEST_CURSOR),
)


@extend_schema_field(OpenApiTypes.STR)
class Reference(serializers.Field[Any, str, str, Any]):
    """An id in a body; becomes the row if it exists for the caller. `verb`: what makes it exist."""

    default_error_messages = {
        "none": "There is no such {kind}, or it is not yours to see.",
        "text": "An id is text.",
    }

    def __init__(self, model: type[Model], verb: str, **kwargs: Any) -> None:
        self.model, self.verb = model, verb
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("text")
        if not data.isprintable():
            self.fail("none", kind=self.model._meta.verbose_name)
        rows = visible_rows(actor_of(self.context["request"]), self.model._default_manager.all(), self.verb)
        row = rows.filter(pk=data).first()
        if row is None:
            self.fail("none", kind=self.model._meta.verbose_name)
        return row

    def to_representation(self, value: Any) -> str:
        return str(value.pk)


class StrictSerializer(serializers.Serializer[Any]):
    """The body of a request: a field that is not listed is an error, not ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                fields = ", ".join(sorted(self.fields))
                raise serializers.ValidationError(
                    {name: [f"This is not a field here; fields are {fields}."] for name in unknown}
                )
        return super().to_internal_value(data)


def cut_field() -> serializers.BooleanField:
    """In the change of a row that requests run under."""
    return serializers.BooleanField(
        required=False, write_only=True, help_text="End its running answers too, within a second. Default: no."
    )


class Nothing(StrictSerializer):
    """An empty body."""


class Resource(GenericViewSet[Any]):
    """`output` shows a row; `inputs` is the body of each writing action, `filters` the columns that the list asks of.

    A query parameter that is not declared for the action, or makes no sense, is an error before anything is done.
    """

    view_verb: ClassVar[str]
    output: ClassVar[type[Serializer[Any]]]
    inputs: ClassVar[dict[str, type[Serializer[Any]]]] = {}
    outputs: ClassVar[dict[str, type[Serializer[Any]]]] = {}
    filters: ClassVar[tuple[str, ...]] = ()
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # of filters whose columns do not list theirs
    times: ClassVar[str] = ""  # the column that `since` and `until` ask of
    secrets: ClassVar[frozenset[str]] = frozenset()
    apart: ClassVar[frozenset[str]] = frozenset()  # actions that hold no transaction
    parameters: ClassVar[Mapping[str, tuple[Parameter, ...]]] = {}  # of actions, beside the filters
    filtered_actions: ClassVar[tuple[str, ...]] = ("list",)
    page_ordering: ClassVar[tuple[str, ...]] = ("-pk",)
    lookup_value_regex = r"[A-Za-z0-9_.-]+"
    schema = Schema()

    @property
    def actor(self) -> Actor:
        return actor_of(self.request)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.asked = filters.read(request.query_params, {one.name: one for one in self.declared(self.action)})
        if request.method == "POST" and idempotency.HEADER in request.headers:
            work: Callable[..., Response] = vars(self)["post"]  # what the router bound to this method
            setattr(self, "post", self._once(work))  # noqa: B010

    def _once(self, work: Callable[..., Response]) -> Callable[..., Response]:
        def done_once(request: Request, *args: Any, **kwargs: Any) -> Response:
            return idempotency.once(
                request,
                self.actor,
                lambda: work(request, *args, **kwargs),
                secrets=self.secrets,
                apart=self.action in self.apart,
            )

        return done_once

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        answer = super().finalize_response(request, response, *args, **kwargs)
        answer.setdefault("Cache-Control", "no-store")
        return answer

    @classmethod
    def declared(cls, action: str | None) -> tuple[Parameter, ...]:
        """The query parameters of an action."""
        here = list(cls.parameters.get(action or "", ()))
        if action in cls.filtered_actions:
            model = cast("QuerySet[Any]", vars(cls)["queryset"]).model
            here += [filters.of_field(model, name, cls.choices.get(name, ())) for name in cls.filters]
            here += filters.times(cls.times) if cls.times else ()
        if action == "list":
            here += PAGE_PARAMETERS
        return tuple(here)

    def rows(self) -> QuerySet[Any]:
        """All rows; `get_queryset` narrows them to the caller's."""
        return cast("QuerySet[Any]", vars(type(self))["queryset"]).all()

    def get_queryset(self) -> QuerySet[Any]:
        return visible_rows(self.actor, self.rows(), self.view_verb)

    def get_serializer_class(self) -> type[Serializer[Any]]:
        return self.output_class(self.action)

    def input_class(self, action: str) -> type[Serializer[Any]] | None:
        return self.inputs.get(action)

    def output_class(self, action: str) -> type[Serializer[Any]]:
        return self.outputs.get(action, self.output)

    # ---- what routes are made of ----

    def read(self, request: Request) -> dict[str, Any]:
        """The body, checked. Fields that were not sent are not in it."""
        body = self.inputs[self.action](
            data=request.data, partial=self.action == "partial_update", context=self.get_serializer_context()
        )
        body.is_valid(raise_exception=True)
        if self.action == "partial_update" and not body.validated_data:
            raise serializers.ValidationError({"non_field_errors": ["Name at least one field to change."]})
        return dict(body.validated_data)

    def show(self, row: Any, status: int = 200, **more: Any) -> Response:
        shown = self.output_class(self.action)(row, context=self.get_serializer_context()).data
        return Response({**shown, **more}, status=status)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        page = self.paginate_queryset(self.filtered(request))
        shown = self.output(page, many=True, context=self.get_serializer_context())
        return self.get_paginated_response(shown.data)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.show(self.get_object())

    def filtered(self, request: Request) -> QuerySet[Any]:
        lookups = {one.name: one.lookup for one in self.declared(self.action)}
        return self.get_queryset().filter(
            **{lookups[name]: value for name, value in self.asked.items() if lookups[name]}
        )
