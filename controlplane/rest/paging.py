"""Cursor pages: `limit` and `cursor` in, `data` and `next_cursor` out; null ends."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.core.exceptions import ValidationError
from django.db import DataError
from rest_framework.exceptions import NotFound, ParseError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.response import Response

# What a place that we did not make meets where rows are compared with it.
SENSELESS = (ValueError, TypeError, OverflowError, ValidationError, DataError)


class Pages(CursorPagination):
    """Stable while rows are added: the cursor names a place, not a number of rows."""

    page_size = 50
    max_page_size = 200
    page_size_query_param = "limit"
    cursor_query_param = "cursor"
    ordering = "-pk"
    invalid_cursor_message = "The cursor is not one of ours; begin without one."

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list[Any] | None:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (NotFound, *SENSELESS):
            raise ParseError(self.invalid_cursor_message) from None

    def get_ordering(self, request: Any, queryset: Any, view: Any) -> tuple[str, ...]:
        return tuple(getattr(view, "page_ordering", (self.ordering,)))

    def encode_cursor(self, cursor: Cursor) -> str:
        """The bare cursor: the base class returns a link."""
        link = super().encode_cursor(cursor)
        return parse_qs(urlsplit(link).query)[self.cursor_query_param][0]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"data": data, "next_cursor": self.get_next_link()})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["data", "next_cursor"],
            "properties": {"data": schema, "next_cursor": {"type": ["string", "null"]}},
        }
