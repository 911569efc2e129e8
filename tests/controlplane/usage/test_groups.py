"""All groups of a sum, however many: none is left out, none comes twice, and they add up to the whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from controlplane.tenancy.models import Role
from controlplane.usage.groups import Mark, Order
from controlplane.usage.models import UsageRecord
from controlplane.usage.queries import By
from tests.controlplane import factories as make
from tests.controlplane.console.world import Tenant, record, tenant
from tests.controlplane.rest.program import Api

pytestmark = pytest.mark.django_db


@pytest.fixture
def made() -> Tenant:
    return tenant()


def spend(made: Tenant, number: int, **values: Any) -> None:
    at = timezone.now() - timedelta(days=number % 7, hours=number % 5)
    record(made, key_id=f"vk_{number:04}", cost_nano=10**6 * (number % 4), started_at=at, **values)


def walk(api: Api, **query: str) -> list[dict[str, Any]]:
    """Every page."""
    pages = [api.get("usage/totals", **query).json()]
    while (cursor := pages[-1]["next_cursor"]) is not None:
        assert pages[-1]["truncated"] is True
        assert len(pages) < 100
        pages.append(api.get("usage/totals", cursor=cursor, **query).json())
    assert pages[-1]["truncated"] is False
    return pages


@pytest.mark.parametrize("order", ["cost", "of"])
@pytest.mark.parametrize("by", [by.value for by in By])
def test_the_pages_are_all_of_it(made: Tenant, by: str, order: str):
    for number in range(13):
        spend(made, number, model=f"model-{number}", client=f"client {number}", principal_id="" if number % 3 else "p")
    api = Api(made.organization)
    pages = walk(api, by=by, order=order, limit="3")
    groups = [group for page in pages for group in page["groups"]]
    assert len({group["of"] for group in groups}) == len(groups)
    for column in ("cost_nano", "attempts", "input_tokens", "output_tokens"):
        assert sum(group[column] for group in groups) == pages[0]["total"][column]
    (whole,) = walk(api, by=by, order=order, limit="500")
    assert groups == whole["groups"]
    if order == "of" or by in ("day", "hour"):
        assert [group["of"] for group in groups] == sorted(group["of"] for group in groups)
    else:
        costs = [group["cost_nano"] for group in groups]
        assert costs == sorted(costs, reverse=True)


def test_more_than_five_hundred_are_said_to_be_more(made: Tenant):
    now = timezone.now()
    rows = [
        UsageRecord(
            id=f"use_x{number}", request_id=f"req_x{number}", state="final", received_at=now, started_at=now,
            organization_id=made.organization.pk, key_id=f"vk_{number}", cost_nano=number,
        )
        for number in range(1203)
    ]  # fmt: skip
    UsageRecord.objects.bulk_create(rows, batch_size=200)
    pages = walk(Api(made.organization), by="key_id")
    assert [len(page["groups"]) for page in pages] == [500, 500, 204]
    assert sum(group["cost_nano"] for page in pages for group in page["groups"]) == pages[0]["total"]["cost_nano"]


def test_what_is_booked_during_a_walk_is_left_to_the_next_one(made: Tenant):
    for number in range(6):
        spend(made, number)
    api = Api(made.organization)
    first = api.get("usage/totals", by="key_id", limit="2").json()
    spend(made, 900)
    second = api.get("usage/totals", by="key_id", limit="2", cursor=first["next_cursor"]).json()
    assert second["total"] == first["total"]
    assert api.get("usage/totals", by="key_id").json()["total"]["attempts"] == first["total"]["attempts"] + 1


def test_names_stand_beside_ids_as_far_as_the_caller_sees_them(made: Tenant):
    spend(made, 1, provider_id=made.provider.pk)
    api = Api(made.organization)
    for by, name in (
        ("organization_id", made.organization.name), ("team_id", made.team.name), ("project_id", made.project.name),
        ("principal_id", made.principal.display_name),
    ):  # fmt: skip
        assert {group["name"] for group in api.get("usage/totals", by=by).json()["groups"]} == {name}
    keys = {group["of"]: group["name"] for group in api.get("usage/totals", by="key_id").json()["groups"]}
    assert keys == {made.key.pk: made.key.name, "vk_0001": ""}
    assert {group["name"] for group in api.get("usage/totals", by="model").json()["groups"]} == {"claude-sonnet-5-5"}
    other = make.principal(made.organization)
    record(made, team_id=made.team.pk, principal_id=other.pk)
    leader = Api(made.organization, Role.TEAM_ADMIN, team=made.team)
    assert leader.get("usage/totals", by="provider_id").status_code == 200


def test_a_cursor_belongs_to_its_walk(made: Tenant):
    for number in range(6):
        spend(made, number)
    api = Api(made.organization)
    cursor = api.get("usage/totals", by="key_id", limit="2").json()["next_cursor"]
    for wrong in ({"by": "model"}, {"by": "key_id", "order": "of"}, {"by": "day"}):
        assert api.get("usage/totals", cursor=cursor, **wrong).status_code == 400
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for mark in (
        Mark(By.KEY, Order.COST, moment, 2**70, 1, "x"),
        Mark(By.KEY, Order.COST, moment.replace(tzinfo=None), 1, 1, "x"),
        Mark(By.KEY, Order.COST, moment, 1, 1, "\0"),
        Mark(By.DAY, Order.COST, moment, 1, 1, "soon"),
    ):
        assert api.get("usage/totals", by=mark.by.value, cursor=str(mark)).status_code == 400
