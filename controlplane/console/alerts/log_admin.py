"""Pages of what happened: alerts with who was told, and each delivery's log with one more try."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html

from controlplane.alerts import delivery_actions
from controlplane.alerts.models import Alert, AlertRule, Delivery, DeliveryEvent
from controlplane.console.access import actor_of
from controlplane.console.addresses import link, page_of
from controlplane.console.alerts.words import alert_pill, delivery_pill, delivery_table, fact_list, severity_pill
from controlplane.console.base import ReadOnlyAdmin
from controlplane.console.decorators import button, display
from controlplane.console.questions import ask
from controlplane.console.site import site
from controlplane.pages.cells import NOTHING, ago, two_lines
from controlplane.tenancy.permissions import Verb, may


class AlertAdmin(ReadOnlyAdmin):
    view_verb = Verb.ALERT_VIEW
    list_display = (
        "shown_title", "shown_severity", "shown_state", "shown_happened", "shown_told", "shown_organization",
    )  # fmt: skip
    list_display_links = ("shown_title",)
    list_filter = ("organization", "state", "severity", "kind")
    list_select_related = ("organization",)
    search_fields = ("title", "rule_name", "id", "subject")
    ordering = ("-created_at", "-id")
    fieldsets = (
        (None, {"fields": ("title", "shown_severity", "shown_state", "shown_rule", "shown_happened", "shown_end")}),
        ("What is known", {"fields": ("shown_facts",)}),
        ("Who was told", {"fields": ("shown_deliveries",)}),
    )

    def look_ahead(self, request: HttpRequest, rows: list[Any]) -> None:
        prefetch_related_objects(rows, "deliveries")

    @display(description="Alert")
    def shown_title(self, row: Alert) -> str:
        return two_lines(row.title, row.rule_name)

    @display(description="Severity", ordering="severity")
    def shown_severity(self, row: Alert) -> str:
        return severity_pill(row.severity)

    @display(description="State", ordering="state")
    def shown_state(self, row: Alert) -> str:
        return alert_pill(row)

    @display(description="Happened", ordering="happened_at")
    def shown_happened(self, row: Alert) -> str:
        return ago(row.happened_at)

    @display(description="Over")
    def shown_end(self, row: Alert) -> str:
        return format_html("{} {}", row.resolution, ago(row.resolved_at)) if row.resolved_at else NOTHING

    @display(description="Rule")
    def shown_rule(self, row: Alert) -> str:
        rule = AlertRule.objects.filter(pk=row.rule_id).first()
        return link(rule) if rule is not None else f"{row.rule_name} (gone)"

    @display(description="Told")
    def shown_told(self, row: Alert) -> str:
        beginning = sorted(row.deliveries.all(), key=lambda delivery: delivery.pk)
        return ", ".join(one.channel_name for one in beginning if one.event == DeliveryEvent.TRIGGERED) or NOTHING

    @display(description="Facts")
    def shown_facts(self, row: Alert) -> str:
        return fact_list(row)

    @display(description="Deliveries")
    def shown_deliveries(self, row: Alert) -> str:
        return delivery_table(row)

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: Alert) -> str:
        return link(row.organization)


class DeliveryAdmin(ReadOnlyAdmin):
    view_verb = Verb.ALERT_VIEW
    list_display = ("shown_alert", "shown_channel", "shown_state", "attempts", "shown_outcome", "shown_made")
    list_display_links = ("shown_alert",)
    list_filter = ("organization", "state", "channel_kind", "event")
    list_select_related = ("alert", "organization")
    search_fields = ("id", "channel_name", "alert__title")
    ordering = ("-created_at", "-id")
    fields = (
        "shown_alert", "shown_channel", "shown_state", "attempts", "attempts_left", "shown_outcome", "status",
        "shown_made", "shown_tried", "shown_next", "id",
    )  # fmt: skip
    actions_detail = ("redeliver",)

    @display(description="Alert")
    def shown_alert(self, row: Delivery) -> str:
        end = "Its end: " if row.event == DeliveryEvent.RESOLVED else ""
        return f"{end}{row.alert.title}"

    @display(description="Channel", ordering="channel_name")
    def shown_channel(self, row: Delivery) -> str:
        return two_lines(row.channel_name, row.get_channel_kind_display())

    @display(description="State", ordering="state")
    def shown_state(self, row: Delivery) -> str:
        return delivery_pill(row)

    @display(description="Outcome of the last try")
    def shown_outcome(self, row: Delivery) -> str:
        return row.message or "not tried yet"

    @display(description="Made", ordering="created_at")
    def shown_made(self, row: Delivery) -> str:
        return ago(row.created_at)

    @display(description="Last try")
    def shown_tried(self, row: Delivery) -> str:
        return ago(row.last_try_at)

    @display(description="Next try")
    def shown_next(self, row: Delivery) -> str:
        return f"{row.next_try_at:%Y-%m-%d %H:%M:%S} UTC" if row.state == "waiting" else NOTHING

    def has_redeliver_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        row = self.find(request, object_id)
        return row is not None and may(actor_of(request), Verb.ALERT_TEST, row)

    @button(description="Send again", icon="replay", url_path="redeliver", permissions=["redeliver"])
    def redeliver(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: Delivery = self.row_at(request, object_id)
        back = page_of(row)
        if request.method != "POST":
            return ask(
                request,
                self.admin_site,
                title="Send again",
                about=row,
                question=f"Send it to “{row.channel_name}” again?",
                lead="It goes out within seconds, under the same id: a receiver that has seen it can tell.",
                submit="Send again",
                back_url=back,
            )
        try:
            delivery_actions.redeliver(row, by=actor_of(request))
            messages.success(request, "It is on its way again.")
        except ValidationError as refused:
            messages.error(request, " ".join(refused.messages))
        return HttpResponseRedirect(back)


site.register(Alert, AlertAdmin)
site.register(Delivery, DeliveryAdmin)
