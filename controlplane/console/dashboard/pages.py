"""The first page: what is left to set up, what the last days cost, who used what, whether the fleet is well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from controlplane.changes import queries
from controlplane.console.access import actor_of, may_somewhere
from controlplane.console.addresses import requests_page
from controlplane.console.dashboard.checklist import checklist
from controlplane.console.fleet.words import state_of, with_successors
from controlplane.fleet.models import Pod, PodState
from controlplane.pages.charts import Chart, bar_chart
from controlplane.pages.figures import DIMENSIONS, Dimension, Moment, series, shares
from controlplane.pages.periods import PERIODS, beginning, lately
from controlplane.pages.wording import age, count, dollars
from controlplane.tenancy.permissions import Verb
from controlplane.usage.queries import By, Total, people, total, visible_to

DAYS = (1, 7, 30)
BOARDS = (By.PERSON, By.MODEL, By.CLIENT)
PODS_SHOWN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: str
    remark: str


@dataclass(frozen=True, slots=True)
class PodStatus:
    name: str
    state: str
    tone: str
    revision: str
    streams: str
    heartbeat: str


def dashboard(request: HttpRequest) -> dict[str, Any]:
    now = timezone.now()
    chosen = request.GET.get("days", "7")
    days = int(chosen) if chosen in set(map(str, DAYS)) else 7
    hourly = days == 1
    rows = lately(visible_to(actor_of(request)), days, now)
    line = series(rows, beginning(days, now), now, hourly=hourly)
    return {
        "checklist": checklist(request),
        "periods": [{"days": value, "label": dict(PERIODS)[str(value)], "chosen": value == days} for value in DAYS],
        "figures": figures(total(rows), people(rows)),
        "charts": charts(line, "hour" if hourly else "day"),
        "boards": [board(rows, dimension, days) for dimension in DIMENSIONS if dimension.by in BOARDS],
        **(pods(now) if may_somewhere(request, Verb.FLEET_VIEW) else {}),
    }


def figures(sums: Total, active: int) -> list[Figure]:
    refused = f"{count(sums.refused)} refused by us" if sums.refused else "none refused"
    return [
        Figure("Spend", dollars(sums.cost_nano), "at the price list's rates"),
        Figure("Requests", count(sums.attempts), refused),
        Figure(
            "Tokens",
            count(sums.input_tokens + sums.output_tokens),
            f"{count(sums.input_tokens)} in, {count(sums.output_tokens)} out",
        ),
        Figure("Active people", count(active), "with at least one request"),
    ]


def charts(line: list[Moment], per: str) -> list[Chart]:
    return [
        bar_chart(f"Spend per {per}", "", [(moment.label, moment.cost_nano) for moment in line], dollars),
        bar_chart(f"Requests per {per}", "", [(moment.label, moment.requests) for moment in line], count),
    ]


def board(rows: Any, dimension: Dimension, days: int) -> dict[str, Any]:
    return {
        "title": dimension.title,
        "rows": shares(rows, dimension, lambda narrower: requests_page(days=days, **narrower), most=5),
        "url": requests_page(days=days),
        "link": "All requests",
        "empty": "No requests in this period.",
    }


def pods(now: Any) -> dict[str, Any]:
    head = queries.head().revision
    recent = Pod.objects.filter(last_heartbeat_at__gte=now - PODS_SHOWN).exclude(state=PodState.GONE)
    rows = with_successors(recent).exclude(connected=False, replaced=True).order_by("name")
    lines = []
    for row in rows:
        word, tone = state_of(row, now)
        behind = head - row.applied_revision
        revision = f"{row.applied_revision}" + (f" ({behind} behind)" if behind > 0 else "")
        lines.append(
            PodStatus(str(row), word, tone, revision, count(row.open_exchanges), age(row.last_heartbeat_at, now))
        )
    ready = sum(line.state == "Ready" for line in lines)
    return {
        "pods": lines,
        "pods_summary": f"{ready} of {len(lines)} ready" if lines else "",
        "pods_url": reverse("admin:fleet_pod_changelist"),
        "show_pods": True,
    }
