"""The ledger: every request, filtered, summed, exported; one page per request with all its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from controlplane.console.access import actor_of
from controlplane.console.addresses import page_of, requests_page
from controlplane.console.base import ReadOnlyAdmin
from controlplane.console.choices import Offer, ValueOffer, rows_of
from controlplane.console.decorators import display
from controlplane.console.filters import by_column, visible
from controlplane.console.list_address import unknown_parameters
from controlplane.console.questions import breadcrumbs
from controlplane.console.site import site
from controlplane.console.usage.export import as_csv
from controlplane.console.usage.filters import BudgetFilter, FiguresFilter, PeriodFilter, TagFilter
from controlplane.console.usage.search import emptiness, search_of
from controlplane.console.usage.words import cost_cell, facts, names_for, outcome_pill
from controlplane.keys.models import VirtualKey
from controlplane.pages.cells import ago, two_lines
from controlplane.pages.figures import DIMENSIONS, shares
from controlplane.pages.periods import lately
from controlplane.pages.wording import CLIENTS, client_name, count, counted, dollars, milliseconds
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Principal, Project, Team
from controlplane.tenancy.permissions import Verb
from controlplane.usage.models import UsageRecord
from controlplane.usage.queries import people, total, visible_to
from controlplane.usage.reading import REASONS

OWNERS: Mapping[str, type[Model]] = {
    "principal_id": Principal,
    "key_id": VirtualKey,
    "team_id": Team,
    "project_id": Project,
    "provider_id": Provider,
}
TEXTS: Mapping[str, Mapping[str, str]] = {"model": {}, "client": CLIENTS, "outcome": {}, "why": REASONS}
TEXTS_OF_DAYS = 30  # what occurred lately is on offer; whatever is in the address is looked for


class UsageRecordAdmin(ReadOnlyAdmin):
    view_verb = Verb.USAGE_VIEW
    change_list_template = "console/usage_list.html"
    list_display = (
        "shown_at", "shown_person", "shown_model", "shown_outcome", "shown_tokens", "shown_cost", "shown_time",
    )  # fmt: skip
    list_display_links = ("shown_at",)
    list_filter = (
        PeriodFilter,
        by_column("principal_id", "person"),
        by_column("key_id", "key"),
        by_column("team_id", "team"),
        by_column("project_id", "project"),
        by_column("provider_id", "provider"),
        by_column("model", "model"),
        by_column("client", "client"),
        by_column("outcome", "outcome"),
        FiguresFilter,
        by_column("why", "why not the provider's"),
        TagFilter,
        BudgetFilter,
    )
    search_fields = ("request_id",)  # what `get_search_results` really looks at: see `LedgerSearch`
    search_help_text = "Exact id of a request, trace, session or provider's request, at any age; or a key"
    ordering = ("-started_at", "-id")
    sortable_by = ()
    show_full_result_count = False  # a second count over the whole ledger
    list_fullwidth = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return visible_to(actor_of(request)).order_by("-started_at", "-id")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return search_of(request).among(queryset), False

    def offers(self, request: HttpRequest, name: str, *, filtering: bool = False) -> Sequence[Offer]:
        if name in OWNERS:
            return [rows_of(request, self.admin_site, visible(request, OWNERS[name]))]
        if name in TEXTS:
            return [ValueOffer(lately(self.get_queryset(request), TEXTS_OF_DAYS), name, TEXTS[name])]
        raise Http404("nothing is chosen by that name")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        answer = super().changelist_view(request, extra_context)
        context = getattr(answer, "context_data", None)
        if context is None or "cl" not in context:
            return answer
        changelist = context["cl"]
        context["export_url"] = f"{reverse('admin:usage_usagerecord_export')}?{request.GET.urlencode()}"
        context["nothing"] = "" if changelist.result_count else emptiness(request)
        sums = total(changelist.queryset)
        context["sums_line"] = (
            f"{counted(sums.attempts, 'request')}, {counted(sums.input_tokens + sums.output_tokens, 'token')}, "
            f"{dollars(sums.cost_nano)}, {counted(people(changelist.queryset), 'person', 'people')}"
        )
        if sums.unconfirmed:
            context["sums_line"] += (
                f"; {dollars(sums.unconfirmed_cost_nano)} in {counted(sums.unconfirmed, 'request')} "
                "not by the provider's figures"
            )
        here = {name: value for name, value in request.GET.dict().items() if name != PAGE_VAR}
        here["days"] = next(spec.value() for spec in changelist.filter_specs if isinstance(spec, PeriodFilter))
        context["boards"] = [
            {
                "title": dimension.title,
                "rows": shares(changelist.queryset, dimension, lambda narrower: requests_page(**here | narrower)),
            }
            for dimension in DIMENSIONS
        ]
        return answer

    def look_ahead(self, request: HttpRequest, rows: list[Any]) -> None:
        names = names_for(rows)
        for row in rows:
            row.names = names

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        return (("export.csv", "usage_usagerecord_export", self.export),)

    def export(self, request: HttpRequest, **_: Any) -> HttpResponseBase:
        """One file of what the list shows with the same filters."""
        if not self.has_view_permission(request):
            raise PermissionDenied("usage is not yours to see")
        list_page = HttpResponseRedirect(requests_page(**request.GET.dict()))  # which says in words what is wrong
        if unknown_parameters(self, request):
            return list_page
        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return list_page
        return as_csv(request, rows, f"usage-{timezone.now():%Y%m%d-%H%M%S}.csv")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One request on one page; there is nothing to change."""
        if object_id is None:
            raise PermissionDenied("the ledger is written by pods")
        row = self.row_at(request, object_id)
        attempts = self.get_queryset(request).filter(request_id=row.request_id).exclude(pk=row.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": "Request",
            **breadcrumbs(row),
            "record": row,
            "outcome": outcome_pill(row),
            "sections": facts(row),
            "others": [(other, page_of(other)) for other in attempts.order_by("attempt", "correction")],
        }
        return TemplateResponse(request, "console/usage_record.html", context)

    @display(description="When")
    def shown_at(self, row: UsageRecord) -> str:
        return ago(row.started_at)

    @display(description="Person and key")
    def shown_person(self, row: Any) -> str:
        person = row.names.get(row.principal_id, row.principal_id) or "unattributed"
        return two_lines(person, row.names.get(row.key_id, row.key_id))

    @display(description="Model and client")
    def shown_model(self, row: UsageRecord) -> str:
        client = f"{client_name(row.client)} {row.client_version}".strip()
        return two_lines(row.model or row.model_requested or "no model", client)

    @display(description="Outcome")
    def shown_outcome(self, row: UsageRecord) -> str:
        return outcome_pill(row)

    @display(description="Tokens in / out")
    def shown_tokens(self, row: UsageRecord) -> str:
        cached = f"{count(row.cached_tokens)} cached" if row.cached_tokens else ""
        return format_html(
            '<span class="gw-nowrap" title="{}">{} / {}</span>',
            cached,
            count(row.input_tokens),
            count(row.output_tokens),
        )

    @display(description="Cost")
    def shown_cost(self, row: UsageRecord) -> str:
        return cost_cell(row)

    @display(description="Time")
    def shown_time(self, row: UsageRecord) -> str:
        return milliseconds(row.duration_ms)


site.register(UsageRecord, UsageRecordAdmin)
