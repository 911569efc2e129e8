"""The looks of the admin: brand, colours, sidebar. Data for django-unfold; `settings.UNFOLD` is this."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, Resolver404, resolve, reverse, reverse_lazy

# Teal: 700 on white and 400 on the dark background keep a contrast above 4.5 : 1.
TEAL = {
    "50": "#f0fdfa",
    "100": "#ccfbf1",
    "200": "#99f6e4",
    "300": "#5eead4",
    "400": "#2dd4bf",
    "500": "#14b8a6",
    "600": "#0f766e",
    "700": "#0f766e",
    "800": "#115e59",
    "900": "#134e4a",
    "950": "#042f2e",
}


def asset(path: str) -> Any:
    """A static file's address, found when a page is made."""
    return lambda request: static(path)


def environment_badge(request: HttpRequest) -> list[str]:
    """The word beside the title: which installation this is."""
    if settings.DEBUG:
        return ["Debug", "danger"]
    return ["This machine", "info"] if settings.ENVIRONMENT.loopback_only else ["Live", "success"]


def link(title: str, icon: str, view: str) -> dict[str, Any]:
    """A sidebar line; it shows to those who may open the page."""
    return {
        "title": title,
        "icon": icon,
        "view": view,
        "link": reverse_lazy(f"admin:{view}"),
        "permission": lambda request, view=view: may_open(request, view),
    }


def may_open(request: HttpRequest, view: str) -> bool:
    """Tells whether the person may open a page of the sidebar."""
    if view == "index":
        return True
    try:
        match = resolve(reverse(f"admin:{view}"))
    except (NoReverseMatch, Resolver404):
        return False
    admin = getattr(match.func, "model_admin", None)
    return admin is not None and bool(admin.has_module_permission(request))


def section(title: str, *items: dict[str, Any], separator: bool = True) -> dict[str, Any]:
    return {"title": title, "separator": separator, "items": list(items)}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "AI Gateway",
    "SITE_HEADER": "AI Gateway",
    "SITE_SUBHEADER": "Control plane",
    "SITE_ICON": asset("console/mark.svg"),
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": asset("console/mark.svg")}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "ENVIRONMENT": "controlplane.console.theme.environment_badge",
    "BORDER_RADIUS": "8px",
    "COLORS": {"primary": TEAL},
    "STYLES": [asset("console/console.css")],
    "SCRIPTS": [asset("console/console.js")],
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": [
            section("Overview", link("Dashboard", "dashboard", "index"), separator=False),
            section(
                "Access",
                link("Virtual keys", "key", "keys_virtualkey_changelist"),
                link("Principals", "person", "tenancy_principal_changelist"),
                link("Groups", "diversity_3", "tenancy_group_changelist"),
                link("Projects", "folder", "tenancy_project_changelist"),
                link("Teams", "groups", "tenancy_team_changelist"),
                link("Organizations", "domain", "tenancy_organization_changelist"),
                link("Memberships", "badge", "tenancy_membership_changelist"),
                link("API tokens", "api", "tenancy_apitoken_changelist"),
                link("Logins", "login", "auth_user_changelist"),
            ),
            section("Money", link("Budgets", "savings", "budgets_budget_changelist")),
            section(
                "Providers",
                link("Providers", "cloud", "providers_provider_changelist"),
                link("Model aliases", "alt_route", "keys_modelalias_changelist"),
                link("Price overrides", "sell", "providers_priceoverride_changelist"),
            ),
            section(
                "Alerts",
                link("Alerts", "notifications", "alerts_alert_changelist"),
                link("Rules", "rule", "alerts_alertrule_changelist"),
                link("Channels", "send", "alerts_channel_changelist"),
                link("Deliveries", "outbox", "alerts_delivery_changelist"),
            ),
            section("Fleet", link("Pods", "dns", "fleet_pod_changelist")),
            section("Usage", link("Requests", "receipt_long", "usage_usagerecord_changelist")),
            section("Audit", link("Events", "history", "changes_auditevent_changelist")),
        ],
    },
}


def title_of(view: str) -> str:
    """The name of a page in the sidebar."""
    return next(
        str(item["title"]) for part in UNFOLD["SIDEBAR"]["navigation"] for item in part["items"] if item["view"] == view
    )
