"""The ledger as CSV, safe to open in a spreadsheet: every row, written while it is read, with names beside ids.

Nothing is cut: a file that ends early ends with its connection, which the browser calls a failed download.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from controlplane.budgets.models import Budget
from controlplane.fleet.database import in_database
from controlplane.keys.models import VirtualKey
from controlplane.pages.wording import exact_dollars
from controlplane.providers.models import Provider
from controlplane.tenancy.models import Organization, Principal, Project, Team
from controlplane.usage.models import UsageRecord
from controlplane.usage.queries import in_pages

AT_A_TIME = 500  # rows in memory: 0.2 MB of text
COLUMNS = (
    "started_at", "request_id", "attempt", "correction", "state", "outcome", "refusal_code", "refusal_budget_id",
    "http_status", "organization_id", "team_id", "project_id", "principal_id", "key_id", "provider_id",
    "provider_kind", "dialect",
    "operation", "model_requested", "model", "model_reported", "client", "client_version", "session", "streaming",
    "input_tokens", "cached_tokens", "output_tokens", "source", "why", "unconfirmed", "priced",
    "price_version", "first_byte_ms",
    "duration_ms", "request_bytes", "response_bytes", "trace_id", "provider_request_id", "end_user_id",
)  # fmt: skip
# Column of the file → the ledger's column, whose rows, their column.
NAMES: Mapping[str, tuple[str, Any, str]] = {
    "organization": ("organization_id", Organization, "name"),
    "team": ("team_id", Team, "name"),
    "project": ("project_id", Project, "name"),
    "person": ("principal_id", Principal, "display_name"),
    "email": ("principal_id", Principal, "email"),
    "key": ("key_id", VirtualKey, "name"),
    "provider": ("provider_id", Provider, "name"),
    "refusal_budget": ("refusal_budget_id", Budget, "name"),
}
HEAD = (*COLUMNS, "cost_usd", "tags", *NAMES)


def safe(value: object) -> str:
    """Text that no spreadsheet takes for a formula: what begins like one gets an apostrophe before it."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def as_csv(request: HttpRequest, rows: QuerySet[UsageRecord], name: str) -> StreamingHttpResponse:
    """All of the rows, newest first; cost in dollars with all nine digits."""
    parts = written(rows)
    return StreamingHttpResponse(
        _outside_the_loop(parts) if isinstance(request, ASGIRequest) else parts,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def written(rows: QuerySet[UsageRecord]) -> Iterator[bytes]:
    """The file, page by page."""
    yield _lines([HEAD])
    for page in in_pages(rows, AT_A_TIME):
        names = _names(page)
        yield _lines(_values(row, names) for row in page)


async def _outside_the_loop(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A page is one unit of work for the database: between two nobody waits for a connection, nor for the loop."""
    while (part := await in_database(next, parts, None)) is not None:
        yield part


def _values(row: UsageRecord, names: Mapping[str, Mapping[str, str]]) -> list[str]:
    return [
        *(safe(getattr(row, column)) for column in COLUMNS),
        exact_dollars(row.cost_nano),
        safe(" ".join(map(str, row.tags))),
        *(safe(names[title].get(getattr(row, column), "")) for title, (column, _, _) in NAMES.items()),
    ]


def _names(rows: Iterable[UsageRecord]) -> dict[str, Mapping[str, str]]:
    rows = list(rows)
    names: dict[str, Mapping[str, str]] = {}
    for title, (column, model, name) in NAMES.items():
        ids = {getattr(row, column) for row in rows} - {""}
        names[title] = dict(model.objects.filter(pk__in=ids).values_list("pk", name)) if ids else {}
    return names


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
