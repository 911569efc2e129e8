"""Where the control plane answers: the admin, the REST API, and a probe that needs neither."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, URLResolver, include, path

from controlplane.console.site import site


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", healthz),
    path("admin/", site.urls),
    path("api/v1/", include("controlplane.console.api_urls")),
]
