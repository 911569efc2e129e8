"""The admin site: the theme's, entered by role, with its own dashboard and a policy that allows no inline script."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from csp.constants import SELF, UNSAFE_EVAL
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver
from unfold.sites import UnfoldAdminSite

from controlplane.console import access
from controlplane.console.choices import search_choices, term_and_page
from controlplane.console.dashboard.pages import dashboard
from controlplane.console.logins.browser import give_cookie
from controlplane.console.logins.form import ThrottledLogin
from controlplane.console.logins.pages import OwnPassword
from controlplane.console.palette import find
from controlplane.console.search_words import cut_address

# The theme's Alpine.js compiles its attributes with `new Function`. Everything outside the admin goes without.
SCRIPTS_HERE = {"script-src": [SELF, UNSAFE_EVAL]}


class ConsoleSite(UnfoldAdminSite):  # type: ignore[misc]
    """Everything under /admin/."""

    index_title = "Dashboard"
    index_template = "console/dashboard.html"
    login_form = ThrottledLogin
    login_template = "console/login.html"
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        return access.may_enter(request)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        patterns: list[URLPattern | URLResolver] = super().get_urls()
        _guard(patterns)
        return patterns

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return give_cookie(request, super().login(request, extra_context))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        answer: TemplateResponse = super().index(request, {**(extra_context or {}), **dashboard(request)})
        return answer

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Answer the palette while one types. Nothing of it is kept: the theme's own keeps rows for minutes."""
        entries = find(request, self, request.GET.get("s", ""))
        return TemplateResponse(
            request, "console/palette.html", {"entries": entries}, headers={"Cache-Control": "no-store"}
        )

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        """Choices for the search boxes of forms and filters: what the page that asks would offer, and nothing else."""
        admin = self._of(request.GET.get("app_label", ""), request.GET.get("model_name", ""))
        if admin is None or not (admin.has_view_permission(request) or admin.has_add_permission(request)):
            raise Http404("no such choices")
        offers = admin.offers(request, request.GET.get("field_name", ""), filtering="filtering" in request.GET)
        return JsonResponse(search_choices(offers, *term_and_page(request)), headers={"Cache-Control": "no-store"})

    def _of(self, app_label: str, model_name: str) -> Any:
        """The pages of a model; None for one that has none."""
        label = f"{app_label}.{model_name}"
        return next((admin for model, admin in self._registry.items() if model._meta.label_lower == label), None)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        words = {**self.each_context(request), **(extra_context or {})}
        request.current_app = self.name
        return cast(HttpResponse, OwnPassword.as_view(extra_context=words)(request))


def _guard(patterns: list[URLPattern | URLResolver]) -> None:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            _guard(pattern.url_patterns)
        elif not getattr(pattern.callback, "_console_guarded", False):
            pattern.callback = guarded(pattern.callback)


def guarded(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A view in whose address no credential stays, and on whose page the theme's scripts may run."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if "\0" in request.path:
            raise Http404("no such page")
        elsewhere = cut_address(request) if request.method in ("GET", "HEAD") else None
        answer = elsewhere or view(request, *args, **kwargs)
        answer._csp_replace = SCRIPTS_HERE  # type: ignore[attr-defined]
        return answer

    answered._console_guarded = True  # type: ignore[attr-defined]
    return answered


site = ConsoleSite(name="admin")
