"""The ledger: every request, filtered, summed, exported; one page per request with all its figures."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from controlplane.console.access import actor_of
from controlplane.console.addresses import page_of
from controlplane.console.base import ReadOnlyAdmin
from controlplane.console.cells import ago, two_lines
from controlplane.console.decorators import display
from controlplane.console.export import as_csv
from controlplane.console.figures import DIMENSIONS, shares
from controlplane.console.filters import BudgetFilter, PeriodFilter, by_owner, by_value
from controlplane.console.pages import breadcrumbs
from controlplane.console.record_page import facts, names_for, outcome_pill
from controlplane.console.site import site
from controlplane.console.wording import client_name, count, counted, dollars, milliseconds
from controlplane.keys.models import VirtualKey
from controlplane.tenancy.models import Principal, Project, Team
from controlplane.tenancy.permissions import Verb
from controlplane.usage.models import UsageRecord
from controlplane.usage.queries import people, total, visible_to


class UsageRecordAdmin(ReadOnlyAdmin):
    view_verb = Verb.USAGE_VIEW
    change_list_template = "console/usage_list.html"
    list_display = (
        "shown_at", "shown_person", "shown_model", "shown_outcome", "shown_tokens", "shown_cost", "shown_time",
    )  # fmt: skip
    list_display_links = ("shown_at",)
    list_filter = (
        PeriodFilter,
        by_owner("principal_id", "person", Principal, "display_name"),
        by_owner("key_id", "key", VirtualKey, "name"),
        by_owner("team_id", "team", Team, "name"),
        by_owner("project_id", "project", Project, "name"),
        by_value("model", "model"),
        by_value("client", "client"),
        by_value("outcome", "outcome"),
        BudgetFilter,
    )
    search_fields = ("request_id__exact", "trace_id__exact", "session__exact", "provider_request_id__exact")
    search_help_text = "A request id, trace id, session or the provider's request id, exactly."
    ordering = ("-started_at", "-id")
    sortable_by = ()
    show_full_result_count = False  # a second count over the whole ledger
    list_fullwidth = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return visible_to(actor_of(request)).order_by("-started_at", "-id")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        answer = super().changelist_view(request, extra_context)
        context = getattr(answer, "context_data", None)
        if context is None or "cl" not in context:
            return answer
        changelist = context["cl"]
        names = names_for(changelist.result_list)
        for row in changelist.result_list:
            row.names = names
        context["export_url"] = f"{reverse('admin:usage_usagerecord_export')}?{request.GET.urlencode()}"
        sums = total(changelist.queryset)
        context["sums_line"] = (
            f"{counted(sums.attempts, 'request')}, {counted(sums.input_tokens + sums.output_tokens, 'token')}, "
            f"{dollars(sums.cost_nano)}, {counted(people(changelist.queryset), 'person', 'people')}"
        )
        context["boards"] = [
            {"title": dimension.title, "rows": shares(changelist.queryset, dimension)} for dimension in DIMENSIONS
        ]
        return answer

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        return (("export.csv", "usage_usagerecord_export", self.export),)

    def export(self, request: HttpRequest, **_: Any) -> HttpResponse:
        """What the list shows with the same filters, as one file."""
        if not self.has_view_permission(request):
            raise PermissionDenied("usage is not yours to see")
        rows = self.get_changelist_instance(request).queryset
        return as_csv(rows, f"usage-{timezone.now():%Y%m%d-%H%M%S}.csv")

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
        return dollars(row.cost_nano)

    @display(description="Time")
    def shown_time(self, row: UsageRecord) -> str:
        return milliseconds(row.duration_ms)


site.register(UsageRecord, UsageRecordAdmin)
