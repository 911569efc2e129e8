"""Providers with write-only credentials and a test button; price overrides."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from controlplane.changes.actor import Actor
from controlplane.console.access import actor_of
from controlplane.console.addresses import link
from controlplane.console.base import ConsoleAdmin
from controlplane.console.decorators import button, display
from controlplane.console.providers.form import PriceOverrideForm, ProviderAddForm, ProviderForm
from controlplane.console.site import site
from controlplane.console.testable import TestableAdmin, TestResult
from controlplane.pages.cells import BAD, NOTHING, PLAIN, ago, mono, on_off, pill
from controlplane.providers import actions, price_actions
from controlplane.providers.kinds import KINDS
from controlplane.providers.models import PriceOverride, Provider
from controlplane.tenancy.permissions import Verb
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind, Unpriced

SERVING = ("Serving", {"fields": ("models", "priority", "unpriced", "price_provider", "account_headers")})
WAITING = (
    "How it is asked",
    {"classes": ("collapse",), "fields": ("first_byte_s", "idle_s", "model_waits", "no_stream_options")},
)
OWN_FIELDS = tuple(
    (kind.label, {"classes": ("collapse",), "fields": kind.own.names}) for kind in KINDS.values() if kind.own.names
)


class ProviderAdmin(TestableAdmin):
    test_verb = Verb.PROVIDER_TEST
    view_verb = Verb.PROVIDER_VIEW
    add_verb = Verb.PROVIDER_CHANGE
    change_verb = Verb.PROVIDER_CHANGE
    choice_verbs = {"organization": Verb.ORGANIZATION_VIEW}
    list_display = ("name", "shown_kind", "shown_url", "shown_state", "shown_test", "priority", "shown_organization")
    list_filter = ("organization", "kind", "enabled")
    list_select_related = ("organization",)
    search_fields = ("name", "base_url", "id", "credential_last4", "credential_fingerprint")
    ordering = ("organization", "priority", "name")
    add_fieldsets = (
        (None, {"fields": ("organization", "kind", "name", "base_url", "credential")}),
        SERVING,
        WAITING,
        *OWN_FIELDS,
    )
    fieldsets = (
        (None, {"fields": ("organization", "shown_kind", "name", "base_url", "enabled", "cut")}),
        ("Credential", {"fields": ("shown_service", "shown_error", "shown_credential", "credential")}),
        ("Last test", {"fields": ("shown_test", "shown_test_message")}),
        SERVING,
        WAITING,
        *OWN_FIELDS,
    )
    readonly_fields = (
        *("shown_kind", "shown_service", "shown_error", "shown_credential", "shown_test", "shown_test_message"),
    )
    fixed_fields = ("organization",)
    change_form_before_template = "console/provider_help.html"

    # ---- list ----

    @display(description="Kind", ordering="kind")
    def shown_kind(self, row: Provider) -> str:
        return KINDS[ProviderKind(row.kind)].label

    @display(description="Base URL", ordering="base_url")
    def shown_url(self, row: Provider) -> str:
        return mono(row.base_url)

    @display(description="State", ordering="enabled")
    def shown_state(self, row: Provider) -> str:
        if row.enabled and row.refused_since is not None:
            return format_html("{} {}", pill("Refuses the credential", BAD), ago(row.refused_since))
        return on_off(row.enabled, "Enabled", "Disabled")

    @display(description="With requests")
    def shown_service(self, row: Provider) -> str:
        if row.refused_since is None:
            return pill("Not refused", PLAIN)
        return format_html("{} since {}", pill("Refused", BAD), ago(row.refused_since))

    @display(description="Last error")
    def shown_error(self, row: Provider) -> str:
        return format_html("{} {}", row.last_error, ago(row.last_error_at)) if row.last_error_at else NOTHING

    @display(description="Stored")
    def shown_credential(self, row: Provider) -> str:
        return format_html(
            '{} <span class="gw-muted">fingerprint {}</span>',
            mono(f"••••{row.credential_last4}"),
            row.credential_fingerprint,
        )

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: Provider) -> str:
        return link(row.organization)

    # ---- form ----

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = ProviderForm if obj is not None else ProviderAddForm
        return super().get_form(request, obj, change, **kwargs, form=form)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        return super().changeform_view(
            request, object_id, form_url, {**(extra_context or {}), "kinds": list(KINDS.values())}
        )

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Provider:
        return actions.create_provider(by=actor_of(request), **_typed(data))

    def change(self, request: HttpRequest, row: Provider, data: dict[str, Any]) -> Provider:
        return actions.update_provider(row, by=actor_of(request), **_typed(data))

    # ---- test ----

    @button(description="Test", icon="network_check", url_path="test", permissions=["test"])
    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.answer_test(request, object_id)

    def test_words(self, row: Provider) -> dict[str, Any]:
        return {
            "question": f"Test “{row.name}”?",
            "lead": f"We ask {row.base_url} for its list of models, with the stored credential. That is not billed.",
            "submit": "Test now",
        }

    def run_test(self, row: Provider, actor: Actor) -> TestResult:
        return actions.test_provider(row, by=actor)


def _typed(data: dict[str, Any]) -> dict[str, Any]:
    """The form's words as the action's types; the credential leaves the form as a Secret."""
    typed = dict(data)
    if "kind" in typed:
        typed["kind"] = ProviderKind(typed["kind"])
    if "unpriced" in typed:
        typed["unpriced"] = Unpriced(typed["unpriced"])
    if "credential" in typed:
        typed["credential"] = Secret(typed["credential"])
    return typed


class PriceOverrideAdmin(ConsoleAdmin):
    form = PriceOverrideForm
    view_verb = Verb.PRICE_VIEW
    add_verb = Verb.PRICE_CHANGE
    change_verb = Verb.PRICE_CHANGE
    delete_verb = Verb.PRICE_CHANGE
    choice_verbs = {"organization": Verb.ORGANIZATION_VIEW}
    fixed_fields = ("organization", "provider", "model")
    list_display = ("model", "provider", "shown_rates", "shown_organization")
    list_filter = ("organization",)
    list_select_related = ("organization",)
    search_fields = ("model", "provider")
    ordering = ("provider", "model")
    fields = (
        "organization", "provider", "model", "match", "rates", "discount_percent", "geo_percent", "tier_percent"
    )  # fmt: skip

    @display(description="Price")
    def shown_rates(self, row: PriceOverride) -> str:
        words = [f"{name} {rate}" for name, rate in row.rates.items()]
        if row.discount_percent:
            words.append(f"{row.discount_percent.normalize():f} % off the list price")
        words += [f"{word} {percent} %" for word, percent in (row.geo_percent | row.tier_percent).items()]
        return ", ".join(words)

    @display(description="Organization", ordering="organization__name")
    def shown_organization(self, row: PriceOverride) -> str:
        return link(row.organization)

    def create(self, request: HttpRequest, data: dict[str, Any]) -> PriceOverride:
        return price_actions.put_override(by=actor_of(request), **data)

    def change(self, request: HttpRequest, row: PriceOverride, data: dict[str, Any]) -> PriceOverride:
        return price_actions.put_override(
            by=actor_of(request),
            organization=row.organization,
            provider=row.provider,
            model=row.model,
            match=data.get("match", row.match),
            rates=data.get("rates", row.rates),
            discount_percent=data.get("discount_percent", row.discount_percent),
            geo_percent=data.get("geo_percent", row.geo_percent),
            tier_percent=data.get("tier_percent", row.tier_percent),
        )

    def remove(self, request: HttpRequest, row: PriceOverride) -> None:
        price_actions.remove_override(row, by=actor_of(request))


site.register(Provider, ProviderAdmin)
site.register(PriceOverride, PriceOverrideAdmin)
