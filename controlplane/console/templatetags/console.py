"""Addresses for the templates that stand in place of the theme's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template
from django.db.models import Model

from controlplane.console.addresses import page_of

register = template.Library()


@register.filter
def address(part: Mapping[str, Any]) -> str:
    """The address of a part of the header's way; the theme does not quote the id of a row in it."""
    title = part["title"]
    return page_of(title) if isinstance(title, Model) else str(part.get("link") or "")
