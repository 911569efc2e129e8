"""Tables that PostgreSQL keeps in a part for each month: made ahead, dropped as a whole. SQLite has plain tables.

What belongs to no month that has a part lands in the default one, and moves when its month is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeVar

from django.db import connection, transaction
from django.db.models import Model, QuerySet

from controlplane.budgets.months import STRAYS, first_day, later, month_of

AHEAD: Final = 2  # months, besides the present one
PATIENCE: Final = "3s"  # for a lock, before everybody else is let through; the next run tries again
_LOCK: Final = 0x61_69_67_77  # two workers do not make the same part

Row = TypeVar("Row", bound=Model)


def partitioned() -> bool:
    return connection.vendor == "postgresql"


def not_in_parts(rows: QuerySet[Row]) -> QuerySet[Row]:
    """Those that no dropped month takes along."""
    return rows.filter(month=STRAYS) if partitioned() else rows


def parts(table: str) -> dict[date, str]:
    """The months that have a part, and its table's name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass",
            [table],
        )
        names = [name for (name,) in cursor.fetchall()]
    months = {}
    for name in names:
        if numbers := re.fullmatch(rf"{table}_(\d{{4}})_(\d{{2}})", name):
            months[date(int(numbers[1]), int(numbers[2]), 1)] = name
    return months


def make_ahead(table: str, now: datetime) -> int:
    """Parts for the present month, the coming ones, and those of what has strayed into the default part. How many."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT month FROM {table}_other WHERE month > %s", [STRAYS])  # noqa: S608 - ours
        strayed = [month for (month,) in cursor.fetchall()]
    wanted = {later(first_day(now), ahead) for ahead in range(AHEAD + 1)} | set(strayed)
    missing = sorted(wanted - parts(table).keys())
    for month in missing:
        _make(table, month)
    return len(missing)


def drop_past(table: str, before: datetime) -> int:
    """Whole months, all of whose rows are older; a day later, for requests that ran over midnight. How many."""
    past = [name for month, name in parts(table).items() if later(month) <= (before - timedelta(days=1)).date()]
    for name in past:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])
            cursor.execute(f"DROP TABLE IF EXISTS {name}")
    return len(past)


def _make(table: str, month: date) -> None:
    part, span = f"{table}_{month:%Y_%m}", [month, later(month)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true), pg_advisory_xact_lock(%s)", [PATIENCE, _LOCK])
        if month in parts(table):
            return
        cursor.execute(f"LOCK TABLE {table}_other IN ACCESS EXCLUSIVE MODE")
        cursor.execute(f"CREATE TABLE {part} (LIKE {table} INCLUDING ALL)")
        cursor.execute(
            f"WITH moved AS (DELETE FROM {table}_other WHERE month >= %s AND month < %s RETURNING *) "  # noqa: S608
            f"INSERT INTO {part} SELECT * FROM moved",
            span,
        )
        cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {part} FOR VALUES FROM (%s) TO (%s)", span)


def convert(cursor: Any, table: str, months: Iterable[date]) -> None:
    """A plain table with a column `month`, in all its unique constraints but the primary key's, into a partitioned one:
    rows, indexes and constraints as they were, under the names that they had."""
    whole = f"{table}_whole"
    cursor.execute(f"ALTER TABLE {table} RENAME TO {whole}")
    cursor.execute(
        "SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s::regclass AND contype IN ('p', 'u', 'f', 'c')",
        [whole],
    )
    constraints = cursor.fetchall()
    backing = [name for name, kind, _ in constraints if kind in "pu"]
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename = %s", [whole]
    )
    indexes = [(name, text) for name, text in cursor.fetchall() if name not in backing]
    cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attidentity <> ''", [whole])
    numbered = [name for (name,) in cursor.fetchall()]
    cursor.execute(f"CREATE TABLE {table} (LIKE {whole} INCLUDING DEFAULTS) PARTITION BY RANGE (month)")
    for name in numbered:  # before PostgreSQL 17, partitioned tables have no identity columns
        sequence = f"{table}_{name}_number"
        cursor.execute(f"CREATE SEQUENCE {sequence} OWNED BY {table}.{name}")
        cursor.execute(f"ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT nextval('{sequence}')")
        cursor.execute(f"SELECT setval('{sequence}', coalesce((SELECT max({name}) FROM {whole}), 0) + 1, false)")  # noqa: S608
    for name, kind, _ in constraints:
        if kind != "c":
            cursor.execute(f'ALTER TABLE {whole} DROP CONSTRAINT "{name}"')
    for name, _ in indexes:
        cursor.execute(f'DROP INDEX "{name}"')
    for name, kind, text in constraints:
        definition = "PRIMARY KEY (id, month)" if kind == "p" else text
        cursor.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
    for _, text in indexes:
        cursor.execute(text.replace(f".{whole} ", f".{table} "))
    cursor.execute(f"CREATE TABLE {table}_other PARTITION OF {table} DEFAULT")
    for month in sorted(set(months)):
        cursor.execute(
            f"CREATE TABLE {table}_{month:%Y_%m} PARTITION OF {table} FOR VALUES FROM (%s) TO (%s)",
            [month, later(month)],
        )
    cursor.execute(f"INSERT INTO {table} SELECT * FROM {whole}")  # noqa: S608
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    cursor.execute(f"DROP TABLE {whole}")


def move_into_months(table: str, schema_editor: Any) -> None:
    """For a migration: every row's month from its request id; then, on PostgreSQL, a part for each."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT request_id FROM {table}")  # noqa: S608
        of = [(month, request) for (request,) in cursor.fetchall() if (month := month_of(request)) != STRAYS]
        for start in range(0, len(of), 5000):
            cursor.executemany(f"UPDATE {table} SET month = %s WHERE request_id = %s", of[start : start + 5000])  # noqa: S608
        if schema_editor.connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            now = first_day(datetime.now(UTC))
            convert(cursor, table, {month for month, _ in of} | {later(now, ahead) for ahead in range(AHEAD + 1)})
