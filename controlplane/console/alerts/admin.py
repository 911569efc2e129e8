"""Pages of what is configured: alert rules, each one form, and channels with a test button."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse

from controlplane.alerts import channel_actions, rule_actions
from controlplane.alerts.channels import CHANNELS
from controlplane.alerts.models import AlertRule, Channel, ChannelKind, RuleKind
from controlplane.alerts.queries import channel_names, subject_names
from controlplane.changes.actor import Actor
from controlplane.console.access import actor_of
from controlplane.console.addresses import link
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
    sentence,
    severity_pill,
)
from controlplane.console.base import ConsoleAdmin
from controlplane.console.choices import Offer
from controlplane.console.decorators import button, display
from controlplane.console.site import site
from controlplane.console.testable import TestableAdmin, TestResult
from controlplane.pages.cells import mono, on_off
from controlplane.tenancy.permissions import Verb
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
        channels, subject = channel_names(rows), subject_names(rows)
        for row in rows:
            row.receivers, row.subject = channels[row.pk], subject.get(row.scope_id, "")

    @display(description="When")
    def shown_when(self, row: Any) -> str:
        return sentence(row, row.subject)

    @display(description="Tell")
    def shown_channels(self, row: Any) -> str:
        return ", ".join(row.receivers) or "nobody, it shows here"

    @display(description="Severity", ordering="severity")
    def shown_severity(self, row: AlertRule) -> str:
        return severity_pill(row.severity)

    @display(description="State", ordering="enabled")
    def shown_state(self, row: AlertRule) -> str:
        return on_off(row.enabled, "On", "Off")

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: AlertRule) -> str:
        return link(row.organization)


class ChannelAdmin(TestableAdmin):
    test_verb = Verb.ALERT_TEST
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

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: Channel) -> str:
        return link(row.organization)

    # ---- test ----

    @button(description="Test", icon="send", url_path="test", permissions=["test"])
    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.answer_test(request, object_id)

    def test_words(self, row: Channel) -> dict[str, Any]:
        return {
            "question": f"Send a test to “{row.name}”?",
            "lead": "A real event goes out now, marked as a test, and you see what came of it.",
            "consequences": [CHANNELS[row.kind].help],
            "submit": "Send the test",
        }

    def run_test(self, row: Channel, actor: Actor) -> TestResult:
        return channel_actions.test_channel(row, by=actor)


def _typed(data: dict[str, Any]) -> dict[str, Any]:
    """The secret leaves the form as a Secret; an empty one is none."""
    typed = {name: value for name, value in data.items() if name != "secret"}
    if data.get("secret"):
        typed["secret"] = Secret(data["secret"])
    return typed


site.register(AlertRule, AlertRuleAdmin)
site.register(Channel, ChannelAdmin)
