"""Alert rules (one form), channels with a test button, what happened, and each delivery's log with one more try."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html

from controlplane.alerts import channel_actions, delivery_actions, rule_actions
from controlplane.alerts.channels import CHANNELS
from controlplane.alerts.models import Alert, AlertRule, Channel, ChannelKind, Delivery, DeliveryEvent, RuleKind
from controlplane.alerts.queries import channel_names, subject_names
from controlplane.console.access import actor_of
from controlplane.console.addresses import page_of
from controlplane.console.alerts.form import (
    RULE_PARTS,
    ChannelAddForm,
    ChannelForm,
    RuleAddForm,
    RuleForm,
    only_for,
    subjects,
)
from controlplane.console.alerts.words import (
    alert_pill,
    delivery_pill,
    delivery_table,
    fact_list,
    sentence,
    severity_pill,
)
from controlplane.console.base import ConsoleAdmin, ReadOnlyAdmin
from controlplane.console.cells import BAD, GOOD, NOTHING, PLAIN, ago, link, mono, on_off, pill, two_lines
from controlplane.console.decorators import button, display
from controlplane.console.offers import Offer
from controlplane.console.questions import ask
from controlplane.console.site import site
from controlplane.tenancy.permissions import Verb, may
from dataplane.core.secret import Secret

SCRIPT = ("console/alerts.js",)


class AlertRuleAdmin(ConsoleAdmin):
    view_verb = Verb.ALERT_VIEW
    add_verb = change_verb = delete_verb = Verb.ALERT_CHANGE
    choice_verbs = {"organization": Verb.ALERT_CHANGE}
    list_display = ("name", "shown_when", "shown_channels", "shown_severity", "shown_state", "shown_organization")
    list_filter = ("organization", "kind", "enabled")
    list_select_related = ("organization",)
    search_fields = ("name", "id")
    ordering = ("organization", "name")
    fixed_fields = ("organization", "kind")

    class Media:
        js = SCRIPT

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return RULE_PARTS
        return [
            (title, part)
            for title, part in RULE_PARTS
            if f"gw-for-{obj.kind}" in part.get("classes", [f"gw-for-{obj.kind}"])
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = RuleForm if obj is not None else RuleAddForm
        about = subjects(request, self.admin_site, obj.organization_id if obj is not None else "")
        chosen = type(form.__name__, (form,), {"actor": actor_of(request), "subjects": about})
        return super().get_form(request, obj, change, **kwargs, form=chosen)

    def offers(self, request: HttpRequest, name: str, *, filtering: bool = False) -> Sequence[Offer]:
        if name == "scope_id" and not filtering:
            return subjects(request, self.admin_site, request.GET.get("of", ""))
        return super().offers(request, name, filtering=filtering)

    def create(self, request: HttpRequest, data: dict[str, Any]) -> AlertRule:
        return rule_actions.create_rule(by=actor_of(request), **{**data, "kind": RuleKind(data["kind"])})

    def change(self, request: HttpRequest, row: AlertRule, data: dict[str, Any]) -> AlertRule:
        return rule_actions.update_rule(row, by=actor_of(request), **data)

    def remove(self, request: HttpRequest, row: AlertRule) -> None:
        rule_actions.delete_rule(row, by=actor_of(request))

    def look_ahead(self, request: HttpRequest, rows: list[Any]) -> None:
        told, subject = channel_names(rows), subject_names(rows)
        for row in rows:
            row.told, row.subject = told[row.pk], subject.get(row.scope_id, "")

    @display(description="When")
    def shown_when(self, row: Any) -> str:
        return sentence(row, row.subject)

    @display(description="Tell")
    def shown_channels(self, row: Any) -> str:
        return ", ".join(row.told) or "nobody, it shows here"

    @display(description="Severity", ordering="severity")
    def shown_severity(self, row: AlertRule) -> str:
        return severity_pill(row.severity)

    @display(description="State", ordering="enabled")
    def shown_state(self, row: AlertRule) -> str:
        return on_off(row.enabled, "On", "Off")

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: AlertRule) -> str:
        return link(row.organization)


class ChannelAdmin(ConsoleAdmin):
    shown_after_add = True
    view_verb = Verb.ALERT_VIEW
    add_verb = change_verb = delete_verb = Verb.ALERT_CHANGE
    choice_verbs = {"organization": Verb.ALERT_CHANGE}
    list_display = ("name", "shown_kind", "shown_target", "shown_state", "shown_test", "shown_organization")
    list_filter = ("organization", "kind", "enabled")
    list_select_related = ("organization",)
    search_fields = ("name", "id", "address", "secret_last4")
    ordering = ("organization", "name")
    readonly_fields = ("shown_kind", "shown_secret", "shown_test", "shown_test_message")
    fixed_fields = ("organization",)
    change_form_before_template = "console/channel_help.html"
    actions_detail = ("test",)

    class Media:
        js = SCRIPT

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        addressed = [kind for kind, channel in CHANNELS.items() if channel.address_label]
        secret = [kind for kind, channel in CHANNELS.items() if channel.secret_label]
        if obj is None:
            return (
                (None, {"fields": ("organization", "kind", "name")}),
                (None, {"classes": only_for(*addressed), "fields": ("address",)}),
                (None, {"classes": only_for(*secret), "fields": ("secret",)}),
            )
        parts: list[Any] = [(None, {"fields": ("organization", "shown_kind", "name", "enabled")})]
        if obj.kind in addressed:
            parts[0][1]["fields"] += ("address",)
        if obj.kind in secret:
            parts.append(("Secret", {"fields": ("shown_secret", "secret")}))
        return [*parts, ("Last test", {"fields": ("shown_test", "shown_test_message")})]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = ChannelForm if obj is not None else ChannelAddForm
        return super().get_form(request, obj, change, **kwargs, form=form)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        words = {**(extra_context or {}), "channels": list(CHANNELS.values()), "labels": dict(ChannelKind.choices)}
        return super().changeform_view(request, object_id, form_url, words)

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Channel:
        typed = {**_typed(data), "kind": ChannelKind(data["kind"])}
        return channel_actions.create_channel(by=actor_of(request), **typed)

    def change(self, request: HttpRequest, row: Channel, data: dict[str, Any]) -> Channel:
        return channel_actions.update_channel(row, by=actor_of(request), **_typed(data))

    def remove(self, request: HttpRequest, row: Channel) -> None:
        channel_actions.delete_channel(row, by=actor_of(request))

    def response_add(self, request: HttpRequest, obj: Channel, post_url_continue: str | None = None) -> HttpResponse:
        """To the new channel's own page, where the test button is."""
        messages.success(request, f"Channel “{obj.name}” was added. Test it now.")
        return HttpResponseRedirect(page_of(obj))

    # ---- list ----

    @display(description="Kind", ordering="kind")
    def shown_kind(self, row: Channel) -> str:
        return row.get_kind_display()

    @display(description="Where")
    def shown_target(self, row: Channel) -> str:
        if row.kind == ChannelKind.SLACK:
            return mono(f"webhook ••••{row.secret_last4}")
        return mono(row.address)

    @display(description="Stored")
    def shown_secret(self, row: Channel) -> str:
        return mono(f"••••{row.secret_last4}")

    @display(description="State", ordering="enabled")
    def shown_state(self, row: Channel) -> str:
        return on_off(row.enabled, "On", "Off")

    @display(description="Last test", ordering="last_test_at")
    def shown_test(self, row: Channel) -> str:
        if row.last_test_at is None:
            return pill("Not tested", PLAIN)
        passed = pill("Passed", GOOD) if row.last_test_ok else pill("Failed", BAD)
        return format_html("{} {}", passed, ago(row.last_test_at))

    @display(description="Result")
    def shown_test_message(self, row: Channel) -> str:
        took = f" ({row.last_test_ms} ms)" if row.last_test_ms is not None else ""
        return f"{row.last_test_message}{took}" if row.last_test_message else NOTHING

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: Channel) -> str:
        return link(row.organization)

    # ---- test ----

    def has_test_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        row = self.find(request, object_id)
        return row is not None and may(actor_of(request), Verb.ALERT_TEST, row)

    @button(description="Test", icon="send", url_path="test", permissions=["test"])
    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: Channel = self.row_at(request, object_id)
        back = page_of(row)
        if request.method != "POST":
            return ask(
                request,
                self.admin_site,
                title="Test",
                about=row,
                question=f"Send a test to “{row.name}”?",
                lead="A real event goes out now, marked as a test, and you see what came of it.",
                consequences=[CHANNELS[row.kind].help],
                submit="Send the test",
                back_url=back,
            )
        outcome = channel_actions.test_channel(row, by=actor_of(request))
        report = messages.success if outcome.ok else messages.error
        report(request, f"{outcome.message} ({outcome.elapsed_ms} ms)")
        return HttpResponseRedirect(back)


def _typed(data: dict[str, Any]) -> dict[str, Any]:
    """The secret leaves the form as a Secret; an empty one is none."""
    typed = {name: value for name, value in data.items() if name != "secret"}
    if data.get("secret"):
        typed["secret"] = Secret(data["secret"])
    return typed


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
        "response", "shown_made", "shown_tried", "shown_next", "id",
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


site.register(AlertRule, AlertRuleAdmin)
site.register(Channel, ChannelAdmin)
site.register(Alert, AlertAdmin)
site.register(Delivery, DeliveryAdmin)
