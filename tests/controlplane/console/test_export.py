"""The CSV of the ledger: all of it, written while it is read, with names, and broken off where it breaks."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from controlplane.console.usage import export
from controlplane.usage import queries
from controlplane.usage.models import UsageRecord
from tests.controlplane import factories as make
from tests.controlplane.console.world import record, tenant

EXPORT = "admin:usage_usagerecord_export"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def admin(db: None) -> Client:
    client = Client()
    client.force_login(make.user(is_superuser=True, username="ada"))
    return client


def many(number: int) -> None:
    """Records of some seconds: many of one moment, so that the order needs their ids."""
    made = tenant()
    UsageRecord.objects.all().delete()
    first = record(made)
    template = {field.attname: getattr(first, field.attname) for field in UsageRecord._meta.concrete_fields}
    first.delete()
    UsageRecord.objects.bulk_create(
        [
            UsageRecord(
                **template
                | {
                    "id": f"use_{one:026d}",
                    "request_id": f"req_{one:030x}",
                    "started_at": NOON + timedelta(seconds=one // 400),
                    "cost_nano": one,
                }
            )
            for one in range(number)
        ],
        batch_size=1000,
    )


def lines(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))


def test_every_row_is_in_the_file_once_in_order(admin: Client):
    many(5 * export.AT_A_TIME + 7)
    got = lines(admin.get(reverse(EXPORT), {"days": "all"}))
    assert [row["request_id"] for row in got] == [
        f"req_{one:030x}" for one in sorted(range(len(got)), key=lambda one: (one // 400, one), reverse=True)
    ]
    assert len(got) == 5 * export.AT_A_TIME + 7


def test_the_file_is_written_while_the_ledger_is_read_a_bounded_part_at_a_time(admin: Client):
    many(4 * export.AT_A_TIME)
    with CaptureQueriesContext(connection) as asked:
        answer: Any = admin.get(reverse(EXPORT), {"days": "all"})
        before = len(asked)
        parts = iter(answer)
        assert next(parts).startswith(b"started_at,")
        for _ in range(2):
            assert next(parts).count(b"\r\n") == export.AT_A_TIME
        read = [query["sql"] for query in asked.captured_queries[before:] if "raw_usage" in query["sql"]]
    assert len(read) == 2
    assert all(f"LIMIT {export.AT_A_TIME + 1}" in sql for sql in read)


def test_a_file_that_cannot_be_finished_ends_with_an_error_and_not_like_a_whole_one(
    admin: Client, monkeypatch: pytest.MonkeyPatch
):
    many(2 * export.AT_A_TIME)
    answer: Any = admin.get(reverse(EXPORT), {"days": "all"})
    parts = iter(answer)
    next(parts), next(parts)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the database went away")

    monkeypatch.setattr(queries, "page", broken)
    with pytest.raises(RuntimeError):
        next(parts)


def test_ids_have_their_names_beside_them(admin: Client):
    made = tenant()
    gone = record(made, principal_id="prin_gone", key_id="", started_at=NOON)
    record(made, provider_id=made.provider.pk)
    named, nameless = lines(admin.get(reverse(EXPORT), {"days": "all", "project_id": made.project.pk}))[:2]
    assert (named["person"], named["email"]) == (made.principal.display_name, made.principal.email)
    assert (named["key"], named["provider"]) == (made.key.name, made.provider.name)
    assert (named["project"], named["team"]) == (made.project.name, made.team.name)
    assert named["organization"] == made.organization.name
    rows = lines(admin.get(reverse(EXPORT), {"days": "all", "principal_id": "prin_gone"}))
    assert [(row["request_id"], row["person"], row["key"]) for row in rows] == [(gone.request_id, "", "")]
    assert nameless["cost_usd"] == "0.004500000"


def test_an_export_is_safe_to_open_in_a_spreadsheet(admin: Client):
    made = tenant()
    UsageRecord.objects.all().delete()
    evil = make.principal(made.organization, display_name="+1+1", email="grace@example.com")
    record(
        made, model='=HYPERLINK("http://evil")', client="@sum", end_user_id="-1+1", tags=["=1", "b"],
        principal_id=evil.pk,
    )  # fmt: skip
    answer = admin.get(reverse(EXPORT), {"days": "7"})
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert "no-store" in answer.headers["Cache-Control"]
    (row,) = lines(answer)
    assert row["model"] == '\'=HYPERLINK("http://evil")'
    assert (row["client"], row["end_user_id"], row["tags"], row["person"]) == ("'@sum", "'-1+1", "'=1 b", "'+1+1")
    assert row["cost_usd"] == "0.004500000"


def test_the_file_is_the_list_with_the_same_filters(admin: Client):
    made = tenant()
    record(made, model="gpt-5.5", tags=["cli"])
    for query, number in (({"model": "gpt-5.5"}, 1), ({"tag": "cli"}, 1), ({"q": made.key.shown}, 2), ({}, 2)):
        assert len(lines(admin.get(reverse(EXPORT), query))) == number, query


def test_what_a_list_does_not_understand_is_said_there(admin: Client):
    for query in ({"tags__contains": "cli"}, {"attempt": "first"}, {"started_at": "yesterday"}):
        answer = admin.get(reverse(EXPORT), query)
        assert answer.status_code == 302, query
        assert answer.headers["Location"].startswith(reverse("admin:usage_usagerecord_changelist"))


@pytest.mark.django_db(transaction=True)
def test_a_server_of_many_sends_each_part_as_it_comes(monkeypatch: pytest.MonkeyPatch):
    many(2 * export.AT_A_TIME + 1)
    login = make.user(is_superuser=True)

    async def download() -> list[bytes]:
        client = AsyncClient()
        await client.aforce_login(login)
        answer: Any = await client.get(reverse(EXPORT), {"days": "all"})
        assert answer.is_async  # else Django would gather all of it in memory first
        parts: AsyncIterator[bytes] = aiter(answer.streaming_content)
        return [part async for part in parts]

    head, *parts = async_to_sync(download)()
    assert head.startswith(b"started_at,")
    assert [part.count(b"\r\n") for part in parts] == [export.AT_A_TIME, export.AT_A_TIME, 1]
