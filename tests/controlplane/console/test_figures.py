"""Figures and the lists behind them: whatever figure is clicked, its requests are listed, and they sum to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from controlplane.console.addresses import requests_page
from controlplane.pages.wording import count, dollars
from controlplane.usage.queries import people, total
from tests.controlplane import factories as make
from tests.controlplane.console.world import Tenant, record, tenant

pytestmark = pytest.mark.django_db

DOLLAR = 10**9


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make.user(is_superuser=True, username="ada"))
    return client


@pytest.fixture
def there() -> Tenant:
    """Two people, models and clients over twenty days, dearest where it is oldest."""
    there = tenant()
    grace = make.principal(there.organization, display_name="Grace")
    for day in (0, 3, 10, 20):
        for person, model, client, outcome in (
            (there.principal, "claude-opus-5", "claude_code", "ok"),
            (grace, "gpt-5.5 & friends=1", "codex", "ok"),
            (grace, "gpt-5.5 & friends=1", "codex", "refused"),
        ):
            record(
                there, principal_id=person.pk, model=model, client=client, outcome=outcome, tags=["cli"],
                started_at=timezone.now() - timedelta(days=day), cost_nano=(day + 1) * DOLLAR,
            )  # fmt: skip
    return there


def boards(admin: Client, page: str, **query: str) -> list[tuple[str, Any]]:
    answer: Any = admin.get(reverse(page), query)
    return [(board["title"], row) for board in answer.context_data["boards"] for row in board["rows"]]


def sums(admin: Client, address: str) -> tuple[str, str, str]:
    """Requests, tokens and spend of the list at an address, as pages write them."""
    answer: Any = admin.get(address)
    assert answer.status_code == 200, address
    rows = total(answer.context_data["cl"].queryset)
    return count(rows.attempts), count(rows.input_tokens + rows.output_tokens), dollars(rows.cost_nano)


@pytest.mark.parametrize("days", ["1", "7", "30"])
def test_the_dashboards_figures_are_those_of_the_lists_that_they_link_to(admin: Client, there: Tenant, days: str):
    clicked = [one for one in boards(admin, "admin:index", days=days) if one[1].url]
    assert len(clicked) >= 6
    for title, row in clicked:
        assert sums(admin, row.url) == (row.requests, row.tokens, row.spend), (title, row)
    dashboard: Any = admin.get(reverse("admin:index"), {"days": days}).context_data
    spend, requests, *_ = (figure.value for figure in dashboard["figures"])
    for board in dashboard["boards"]:
        assert sums(admin, board["url"])[::2] == (requests, spend)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"days": "30"},
        {"days": "30", "outcome": "ok"},
        {"days": "all", "outcome": "refused", "tag": "cli"},
        {"days": "30", "client": "codex", "p": "1"},
        {"days": "30", "model": "gpt-5.5 & friends=1"},
    ],
)
def test_totals_keep_the_filters_and_the_period_of_their_list(admin: Client, there: Tenant, query: dict[str, str]):
    clicked = [one for one in boards(admin, "admin:usage_usagerecord_changelist", **query) if one[1].url]
    assert len(clicked) >= 6
    for title, row in clicked:
        assert sums(admin, row.url) == (row.requests, row.tokens, row.spend), (title, row, query)


def test_totals_of_a_search_stay_within_it(admin: Client, there: Tenant):
    record(there, session="one run", cost_nano=DOLLAR, started_at=timezone.now() - timedelta(days=50))
    for _, row in boards(admin, "admin:usage_usagerecord_changelist", q="one run"):
        assert sums(admin, row.url)[0] == "1"


def test_what_a_key_spent_is_what_its_requests_cost(admin: Client, there: Tenant):
    record(there, started_at=timezone.now() - timedelta(days=29, hours=23), cost_nano=DOLLAR)
    page: Any = admin.get(reverse("admin:keys_virtualkey_changelist"))
    row = next(row for row in page.context_data["cl"].result_list if row.pk == there.key.pk)
    address = requests_page(key_id=there.key.pk, days=30)
    assert address.replace("&", "&amp;") in page.content.decode()
    assert sums(admin, address)[2] == dollars(row.spend_nano)


def test_the_people_of_a_period_are_counted_alike(admin: Client, there: Tenant):
    dashboard: Any = admin.get(reverse("admin:index"), {"days": "30"})
    active = next(figure for figure in dashboard.context_data["figures"] if figure.name == "Active people")
    listed: Any = admin.get(requests_page(days=30))
    assert active.value == count(people(listed.context_data["cl"].queryset)) == "2"
