"""/api/v1/: every app's routes, and the document that describes them."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from controlplane.alerts.api import AlertChannels, AlertDeliveries, AlertRules, Alerts
from controlplane.budgets.api import Accounts, Budgets, Crossings, Overrides
from controlplane.changes.api import Audit
from controlplane.fleet.api import Pods
from controlplane.keys.api import ModelAliases, VirtualKeys
from controlplane.providers.api import PriceOverrides, Providers
from controlplane.rest.problems import problem
from controlplane.tenancy.access_api import ApiTokens, Memberships
from controlplane.tenancy.api import Organizations, Principals, Projects, Teams
from controlplane.tenancy.group_api import Groups
from controlplane.usage.api import Usage

ROUTES = (
    ("organizations", Organizations),
    ("teams", Teams),
    ("projects", Projects),
    ("principals", Principals),
    ("groups", Groups),
    ("memberships", Memberships),
    ("api-tokens", ApiTokens),
    ("virtual-keys", VirtualKeys),
    ("model-aliases", ModelAliases),
    ("budgets", Budgets),
    ("budget-overrides", Overrides),
    ("budget-accounts", Accounts),
    ("budget-crossings", Crossings),
    ("alert-rules", AlertRules),
    ("alert-channels", AlertChannels),
    ("alerts", Alerts),
    ("alert-deliveries", AlertDeliveries),
    ("providers", Providers),
    ("price-overrides", PriceOverrides),
    ("usage", Usage),
    ("fleet/pods", Pods),
    ("audit", Audit),
)


class NoSuchRoute(APIView):
    """Anything else under /api/."""

    permission_classes = ()
    authentication_classes = ()

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        return problem(404, f"There is no route {request.path[:200]}; see /api/v1/openapi.yaml for all there are.")


router = SimpleRouter(trailing_slash=False)
for prefix, resource in ROUTES:
    router.register(prefix, resource, basename=prefix.replace("/", "-"))

urlpatterns = [
    *router.urls,
    path("openapi.yaml", SpectacularAPIView.as_view(permission_classes=(), authentication_classes=()), name="openapi"),
    re_path(r"^.*$", NoSuchRoute.as_view(schema=None)),
]
