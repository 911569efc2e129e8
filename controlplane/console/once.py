"""Showing a secret once: in the page that answers the POST that made it, and in no session, message or address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse

from controlplane.pages.recipes import RECIPES, Recipe, Setup, Target
from dataplane.core.secret import Secret

_TOKEN = "_console_token"  # noqa: S105 - the name of an attribute


def hand_over(request: HttpRequest, token: Secret) -> None:
    """Keep the secret for the rest of this request, which shows it."""
    setattr(request, _TOKEN, token)


def take_over(request: HttpRequest) -> Secret:
    token: Secret = request.__dict__.pop(_TOKEN)
    return token


def show_once(
    request: HttpRequest, site: AdminSite, *, token: Secret, context: dict[str, Any], target: Target | None = None
) -> TemplateResponse:
    """`context`: title, heading, secret_name, done_url; a remark, an example. `target`: add the CLIs' setups."""
    text = token.reveal().decode()
    page = {
        **site.each_context(request),
        **context,
        "token": text,
        "setups": setups(target) if target is not None else (),
        "setup_hint": "with the key filled in: what you copy here is a secret",
    }
    return TemplateResponse(request, "console/show_once.html", page, headers={"Cache-Control": "no-store"})


def setups(target: Target) -> Sequence[tuple[Recipe, Setup]]:
    return [(recipe, recipe.setup(target)) for recipe in RECIPES]
