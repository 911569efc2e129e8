"""Pages of our own inside the admin: a question before something happens, and what happens after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse


def breadcrumbs(row: Model) -> dict[str, Any]:
    """The context from which the theme's header makes the way to a page of the row."""
    return {"opts": row._meta, "original": row, "subtitle": str(row)}


def ask(
    request: HttpRequest,
    site: AdminSite,
    *,
    title: str,
    about: Model,
    question: str,
    lead: str,
    submit: str,
    back_url: str,
    consequences: Sequence[str] = (),
    danger: bool = False,
    **more: Any,
) -> TemplateResponse:
    """A confirmation page: says what will happen; its POST does it. `more`: choices (name, legend, options), errors."""
    context = {
        **site.each_context(request),
        "title": title,
        **breadcrumbs(about),
        "heading": question,
        "lead": lead,
        "consequences": consequences,
        "submit": submit,
        "danger": danger,
        "back_url": back_url,
        **more,
    }
    return TemplateResponse(request, "console/confirm.html", context)
