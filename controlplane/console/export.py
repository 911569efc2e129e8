"""The ledger as CSV, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse

from controlplane.console.wording import exact_dollars

MOST_ROWS = 50_000  # about 20 MB: written in memory, one answer
COLUMNS = (
    "started_at", "request_id", "attempt", "correction", "state", "outcome", "refusal_code", "http_status",
    "organization_id", "team_id", "project_id", "principal_id", "key_id", "provider_id", "provider_kind", "dialect",
    "operation", "model_requested", "model", "model_reported", "client", "client_version", "session", "streaming",
    "input_tokens", "cached_tokens", "output_tokens", "source", "priced", "price_version", "first_byte_ms",
    "duration_ms", "request_bytes", "response_bytes", "trace_id", "provider_request_id", "end_user_id",
)  # fmt: skip


def safe(value: object) -> str:
    """Text that no spreadsheet takes for a formula: what begins like one gets an apostrophe before it."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def as_csv(rows: QuerySet[Any], name: str) -> HttpResponse:
    """The newest rows, at most MOST_ROWS; cost in dollars with all nine digits."""
    answer = HttpResponse(
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )
    writer = csv.writer(answer)
    writer.writerow([*COLUMNS, "cost_usd", "tags"])
    for row in rows[:MOST_ROWS].iterator(chunk_size=1000):
        values = [safe(getattr(row, column)) for column in COLUMNS]
        writer.writerow([*values, exact_dollars(row.cost_nano), safe(" ".join(map(str, row.tags)))])
    return answer
