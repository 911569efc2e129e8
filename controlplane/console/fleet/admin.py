"""The fleet: every pod, what it runs, how far its configuration is, what it cannot apply."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import BooleanField, QuerySet, Subquery, Value
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html

from controlplane.changes import queries
from controlplane.changes.models import Revision
from controlplane.console.access import actor_of
from controlplane.console.addresses import page_of
from controlplane.console.base import ReadOnlyAdmin
from controlplane.console.decorators import button, display
from controlplane.console.fleet.words import pod_pill, problems, with_successors
from controlplane.console.questions import ask
from controlplane.console.site import site
from controlplane.fleet import actions
from controlplane.fleet.models import Pod
from controlplane.fleet.register.servers import differences, living
from controlplane.pages.cells import NOTHING, ago, mono
from controlplane.pages.wording import age, count
from controlplane.tenancy.permissions import Verb


class PodAdmin(ReadOnlyAdmin):
    """Pods belong to no organization: those who may see the fleet see all of it."""

    view_verb = Verb.FLEET_VIEW
    list_display = (
        "shown_name", "version", "shown_state", "shown_revision", "shown_heartbeat", "shown_streams", "shown_spool",
        "shown_requests", "shown_problem",
    )  # fmt: skip
    list_filter = ("state", "version")
    search_fields = ("name", "pod_id", "address")
    ordering = ("name", "pod_id")
    actions_detail = ("evict",)
    list_before_template = "console/fleet_head.html"
    fields = (
        "name", "pod_id", "identity", "certificate", "version", "address", "shown_state", "shown_revision",
        "epoch", "applied_at",
        "shown_heartbeat", "started_at", "first_seen_at", "shown_streams", "shown_spool", "shown_requests",
        "refusals_total", "shown_problem",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        operator = Value(actor_of(request).operator, output_field=BooleanField())
        newest = Subquery(Revision.objects.values("value")[:1])
        return with_successors(Pod.objects.annotate(for_operator=operator, newest=newest))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        head = queries.head()
        words = {
            "head": head,
            "head_age": age(head.committed_at, timezone.now()),
            "server_differences": differences(living()) if actor_of(request).operator else [],
        }
        return super().changelist_view(request, {**(extra_context or {}), **words})

    # ---- buttons ----

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        row = self.find(request, object_id)
        offered = row is not None and row.certificate and not row.evicted and actor_of(request).operator
        return super().get_actions_detail(request, object_id) if offered else []

    @button(description="Evict…", icon="block", url_path="evict", danger=True)
    def evict(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: Pod = self.row_at(request, object_id)
        back_url = page_of(row)
        if request.method != "POST":
            return self._ask_evict(request, row, back_url)
        try:
            actions.evict(row, by=actor_of(request))
        except ValidationError as refused:
            messages.error(request, refused.messages[0])
        return HttpResponseRedirect(back_url)

    def _ask_evict(self, request: HttpRequest, row: Pod, back_url: str) -> HttpResponse:
        others = Pod.objects.filter(certificate=row.certificate, connected=True).exclude(pk=row.pk).count()
        consequences = [
            "Its connection to the control plane ends within 5 seconds, and its certificate is refused from then on.",
            "It serves what it knows for 45 seconds more, or as long as an organization chose, and then refuses.",
            "Usage that it has not reported yet is not accepted any more.",
            "It comes back with a new certificate only (manage.py pki).",
        ]
        if others:
            consequences.insert(0, f"{others} other connected pod{'s show' if others > 1 else ' shows'} the same one.")
        return ask(
            request,
            self.admin_site,
            title="Evict",
            about=row,
            question=f"Evict “{row}” from the fleet?",
            lead="For a pod that may be in somebody else's hands. This cannot be taken back.",
            consequences=consequences,
            submit="Evict",
            danger=True,
            back_url=back_url,
        )

    # ---- columns ----

    @display(description="Pod", ordering="name")
    def shown_name(self, row: Pod) -> str:
        return format_html('<span class="gw-strong">{}</span><br>{}', str(row), mono(row.pod_id))

    @display(description="State", ordering="state")
    def shown_state(self, row: Pod) -> str:
        return pod_pill(row, timezone.now())

    @display(description="Revision", ordering="applied_revision")
    def shown_revision(self, row: Any) -> str:
        behind = (row.newest or 0) - row.applied_revision
        if behind <= 0:
            return format_html('{} <span class="gw-muted">newest</span>', row.applied_revision)
        return format_html('{} <span class="gw-bad">{} behind</span>', row.applied_revision, behind)

    @display(description="Heard from", ordering="last_heartbeat_at")
    def shown_heartbeat(self, row: Pod) -> str:
        return ago(row.last_heartbeat_at)

    @display(description="Streams", ordering="open_exchanges")
    def shown_streams(self, row: Pod) -> str:
        return count(row.open_exchanges)

    @display(description="Spool", ordering="spool_records")
    def shown_spool(self, row: Pod) -> str:
        return count(row.spool_records)

    @display(description="Requests", ordering="requests_total")
    def shown_requests(self, row: Pod) -> str:
        return count(row.requests_total)

    @display(description="Problem")
    def shown_problem(self, row: Any) -> str:
        problem = problems(row, timezone.now(), with_ids=row.for_operator)
        return format_html('<span class="gw-bad">{}</span>', problem) if problem else NOTHING


site.register(Pod, PodAdmin)
