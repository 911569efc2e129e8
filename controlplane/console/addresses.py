"""Addresses of the console's pages, and links to them. Ids are quoted in addresses: `vk_01…` is `vk_5F01…`."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.pages.cells import NOTHING


def page_of(row: Model, page: str = "change") -> str:
    """The address of one of the row's pages: `change`, `delete`, or a button's name."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=[quote(row.pk)])


def link(row: Model | None, text: str = "") -> SafeString | str:
    """A link to the page of an object."""
    if row is None:
        return NOTHING
    return format_html('<a class="gw-link" href="{}">{}</a>', page_of(row), text or str(row))


def requests_page(**query: object) -> str:
    """The address of the list of requests with these filters."""
    return f"{reverse('admin:usage_usagerecord_changelist')}?{urlencode(query)}"
