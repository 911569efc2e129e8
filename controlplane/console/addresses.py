"""Addresses of pages about an object. Ids are quoted in them, as in every list: `vk_01…` is `vk_5F01…`."""

from __future__ import annotations

from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse


def page_of(row: Model, page: str = "change") -> str:
    """The address of one of the row's pages: `change`, `delete`, or a button's name."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=[quote(row.pk)])
