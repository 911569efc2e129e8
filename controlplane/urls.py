"""Where the control plane answers: the admin, the REST API, and probes that need neither."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path, re_path

from controlplane.api_urls import NoSuchRoute
from controlplane.console.site import site
from controlplane.web.probes import healthz, metrics, readyz, root

urlpatterns: list[URLPattern | URLResolver] = [
    path("", root),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", metrics),
    path("admin/", site.urls),
    path("api/v1/", include("controlplane.api_urls")),
    re_path(r"^api(?:/.*)?$", NoSuchRoute.as_view(schema=None)),
]
