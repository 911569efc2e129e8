"""What the roster gathered, in as few statements as the database takes: a thousand pods answer in the same moment.

Row by row, a thousand statements held SQLite's only write lock for half a second, and every other writer waited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from django.db import connection, transaction
from django.db.models import Model

from controlplane.fleet.models import Pod, PodAck

# What a Watch may say after its Hello.
CHANGEABLE = (
    "last_heartbeat_at", "connected", "state", "epoch", "applied_revision", "applied_at", "nack_revision",
    "nack_problem", "not_understood", "not_understood_count", "not_understood_since", "refused_keys",
    "clock_ahead_ms", "problem", "open_exchanges", "spool_records", "requests_total", "refusals_total",
)  # fmt: skip
_FROM_HELLO = [
    "identity", "certificate", "session_id", "stream_id", "watch", "name", "version", "address", "started_at",
    "connected", "epoch", "applied_revision", "last_heartbeat_at", "nack_revision", "nack_problem",
]  # fmt: skip
_ACK = ("pod_id", "revision", "at", "apply_ms")
_MOST_ROWS = 500  # in one statement
_FEWEST_PARAMETERS = 999  # that any build of a database takes

Item = TypeVar("Item")
AckRow = tuple[str, int, datetime, int]  # as _ACK


@dataclass(frozen=True)
class RosterRow:
    """What is to be written of one Watch: its Hello when that is news, and what came after."""

    pod_id: str
    stream_id: str
    hello: Pod | None = None
    changes: dict[str, Any] = field(default_factory=dict)


def write(rows: Sequence[RosterRow], acks: Sequence[AckRow]) -> None:
    """All of it, or nothing. Raises database errors."""
    ordered = sorted(rows, key=lambda one: one.pod_id)  # every replica locks rows in the same order
    with transaction.atomic():
        _introduce([one.hello for one in ordered if one.hello is not None])
        _update([one for one in ordered if one.changes])
        _insert(PodAck, _ACK, acks, "DO NOTHING")


def _introduce(hellos: Sequence[Pod]) -> None:
    """A Hello that waited for its turn while the pod said a newer one to another replica changes nothing."""
    names = [field.attname for field in Pod._meta.concrete_fields]
    table = connection.ops.quote_name(Pod._meta.db_table)
    taken = ", ".join(f"{name} = EXCLUDED.{name}" for name in _FROM_HELLO)
    newer = f"(pod_id) DO UPDATE SET {taken} WHERE EXCLUDED.watch >= {table}.watch"
    _insert(Pod, names, [[getattr(hello, name) for name in names] for hello in hellos], newer)


def _update(entries: Sequence[RosterRow]) -> None:
    """A row is changed by the Watch that it names only; what a Watch has not said stays as it is."""
    names = ("pod_id", "stream_id", *CHANGEABLE)
    column = {name: _typed(Pod, name, f"said.column{number}") for number, name in enumerate(names, 1)}
    table = connection.ops.quote_name(Pod._meta.db_table)
    value_of = {name: f"COALESCE({column[name]}, {table}.{name})" for name in CHANGEABLE}
    goes_on = f"{column['not_understood_count']} > 0 AND {table}.not_understood_count > 0"
    since = value_of["not_understood_since"]
    value_of["not_understood_since"] = f"CASE WHEN {goes_on} THEN {table}.not_understood_since ELSE {since} END"
    changes = ", ".join(f"{name} = {value}" for name, value in value_of.items())
    whose = f"{table}.pod_id = {column['pod_id']} AND {table}.stream_id = {column['stream_id']}"
    rows = [
        (one.pod_id, one.stream_id, *(_stored(Pod, name, one.changes.get(name)) for name in CHANGEABLE))
        for one in entries
    ]
    with connection.cursor() as cursor:
        for some in _cut(rows, len(names)):
            values, parameters = _values(some)
            # Put together of names and placeholders only.
            update = f"UPDATE {table} SET {changes} FROM (VALUES {values}) AS said WHERE {whose}"  # noqa: S608
            cursor.execute(update, parameters)


def _insert(model: type[Model], names: Sequence[str], rows: Sequence[Sequence[Any]], conflict: str) -> None:
    """`conflict`: what follows ON CONFLICT."""
    table = connection.ops.quote_name(model._meta.db_table)
    stored = [[_stored(model, name, value) for name, value in zip(names, row, strict=True)] for row in rows]
    with connection.cursor() as cursor:
        for some in _cut(stored, len(names)):
            values, parameters = _values(some)
            # Put together of names and placeholders only.
            insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES {values} ON CONFLICT {conflict}"  # noqa: S608
            cursor.execute(insert, parameters)


def _cut(rows: Sequence[Item], width: int) -> Iterator[Sequence[Item]]:
    """So many at a time that a statement's parameters are not too many."""
    parameters = connection.features.max_query_params or _MOST_ROWS * width
    size = max(1, min(_MOST_ROWS, max(parameters, _FEWEST_PARAMETERS) // width))
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _values(rows: Sequence[Sequence[Any]]) -> tuple[str, list[Any]]:
    one = f"({', '.join(['%s'] * len(rows[0]))})"
    return ", ".join([one] * len(rows)), [value for row in rows for value in row]


def _typed(model: type[Model], name: str, column: str) -> str:
    """PostgreSQL has to be told the type of a column of VALUES; in SQLite a cast could change the value."""
    if connection.vendor != "postgresql":
        return column
    return f"CAST({column} AS {model._meta.get_field(name).cast_db_type(connection)})"  # type: ignore[union-attr]


def _stored(model: type[Model], name: str, value: Any) -> Any:
    return None if value is None else model._meta.get_field(name).get_db_prep_save(value, connection)  # type: ignore[union-attr]
