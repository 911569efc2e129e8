"""`/healthz`: the process answers. `/readyz`: the database does too and has every migration. `/metrics`: what is
counted, for who asks from this machine. `/` leads to the admin.

They are answered by a middleware, before there is a session: that of a browser that looks would be saved, and a process
would not seem to live because its database does not.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable
from functools import cache

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import resolve, reverse
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from controlplane.rest.busy import RETRY_AFTER_S
from controlplane.web.metrics import exposition

PATHS = frozenset({"/", "/healthz", "/readyz", "/metrics"})
# What a proxy adds: who asks is then not the connection's other end.
_PASSED_ON = ("HTTP_X_FORWARDED_", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
_migrated = threading.Event()  # a database does not lose migrations, so it is asked for them until it has them all


class Probes:
    """Stands around the session."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info not in PATHS:
            return self._get_response(request)
        request.get_host()  # raises DisallowedHost
        match = resolve(request.path_info)
        request.resolver_match = match
        answer: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        return answer


def root(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:index"))


def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Says in words what is missing, and nothing that helps a stranger."""
    problem = missing()
    if not problem:
        return JsonResponse({"status": "ready"})
    return JsonResponse(
        {"status": "not ready", "because": problem},
        status=503,
        headers={"Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-store"},
    )


def metrics(request: HttpRequest) -> HttpResponse:
    """Answers with the figures of this process, and of all that share `AIGATEWAY_WEB_METRICS_LISTEN`."""
    if not from_this_machine(request):
        return HttpResponse(
            "Metrics are shown to this machine only, or at AIGATEWAY_WEB_METRICS_LISTEN.\n",
            status=404,
            content_type="text/plain; charset=utf-8",
        )
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def from_this_machine(request: HttpRequest) -> bool:
    if any(name.startswith(_PASSED_ON) for name in request.META):
        return False
    try:
        return ipaddress.ip_address(str(request.META.get("REMOTE_ADDR", ""))).is_loopback
    except ValueError:
        return False


def missing() -> str:
    """Empty: nothing."""
    try:
        if not _migrated.is_set():
            if needed() - set(MigrationRecorder(connection).applied_migrations()):
                return "The database lacks migrations: run manage.py migrate."
            _migrated.set()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError):
        return "The database does not answer."
    return ""


@cache
def needed() -> frozenset[tuple[str, str]]:
    """Every migration that the code brings."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return frozenset(key for key, migration in loader.disk_migrations.items() if not migration.replaces)
