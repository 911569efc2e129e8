"""The SQL of a unit of work: everything that it reads in one message to the database, everything that it writes in
another.

Django's query building costs more than the queries: 9 ms of processor time a transaction, where 1 ms is left now. The
texts are the same for both databases, which know `$1` alike. PostgreSQL takes a column of values as one array, written
out here, because psycopg builds arrays value by value; SQLite takes one JSON document.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

import psycopg
from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from controlplane.budgets.crossings import tell_listeners
from controlplane.budgets.models import Account, AskReply, Crossing, Lease, LeaseSession
from controlplane.changes.models import Revision
from dataplane.core.money.lease_rows import AccountRow, LeaseRow, SessionState
from dataplane.core.money.messages import AccountRef

_ACCOUNTS: Final = Account._meta.db_table
_LEASES: Final = Lease._meta.db_table
_SESSIONS: Final = LeaseSession._meta.db_table
_REPLIES: Final = AskReply._meta.db_table
_REVISION: Final = Revision._meta.db_table
# That the answers to pods wait for rows that somebody else holds; usually that is milliseconds. Once it was in vain,
# less is waited: it may have to be tried for several messages, one after the other.
LOCK_MS: Final = 300
AGAIN_MS: Final = 50
_HOLDING: Final = f"'{SessionState.OPEN.value}', '{SessionState.EXPIRED.value}'"

# Put together of names of ours and placeholders only. `{…}` is what the databases have different words for.
_READ: Final = (
    f"SELECT epoch, value FROM {_REVISION} LIMIT 1",  # noqa: S608
    f"SELECT session_id, expires_ms, state, identity, alone_ms FROM {_SESSIONS} "  # noqa: S608
    "WHERE session_id {among_texts} ORDER BY session_id {lock}",
    "SELECT id, budget_id, member_id, window_key, {ends_ms}, limit_nano, settled_nano, held_nano, overdraft_used_nano, "  # noqa: S608
    f"overdraft_limit_nano, excess_nano FROM {_ACCOUNTS} WHERE id {{among_ids}} ORDER BY id {{lock}}",
    "SELECT l.session_id, l.account_id, l.granted_nano, l.consumed_nano, l.returned_nano, l.free_nano, l.live_nano, "  # noqa: S608
    f"l.used_ms, l.recalled_ms, s.expires_ms, s.state FROM {_LEASES} l "
    f"JOIN {_SESSIONS} s ON s.session_id = l.session_id "
    f"WHERE l.account_id {{among_ids}} AND (s.state IN ({_HOLDING}) OR s.session_id {{among_texts_too}})",
)
_FREE_LEASES: Final = (
    f"SELECT session_id, account_id FROM {_LEASES} WHERE account_id {{among_ids}} "  # noqa: S608
    "FOR NO KEY UPDATE SKIP LOCKED"
)
_FIND_ACCOUNTS: Final = (
    f"SELECT id, budget_id, member_id, window_key FROM {{rows}} JOIN {_ACCOUNTS} "  # noqa: S608
    "ON budget_id = c0 AND member_id = c1 AND window_key = c2"
)
_FIND_SESSIONS: Final = f"SELECT session_id FROM {_SESSIONS} WHERE session_id {{among_texts}}"  # noqa: S608
_UPDATE_ACCOUNTS: Final = (
    f"UPDATE {_ACCOUNTS} SET limit_nano = c1, settled_nano = c2, held_nano = c3, overdraft_used_nano = c4, "  # noqa: S608
    "overdraft_limit_nano = c5, excess_nano = c6, drawn_at = {now} FROM {rows} WHERE id = c0"
)
_INSERT_LEASES: Final = (
    f"INSERT INTO {_LEASES} (session_id, account_id, granted_nano, consumed_nano, returned_nano, free_nano, "  # noqa: S608
    "live_nano, used_ms, recalled_ms) SELECT c0, c1, c2, c3, c4, c5, c6, c7, c8 FROM {rows} WHERE true "
    "ON CONFLICT (session_id, account_id) DO UPDATE SET "
    "granted_nano = excluded.granted_nano, consumed_nano = excluded.consumed_nano, "
    "returned_nano = excluded.returned_nano, free_nano = excluded.free_nano, live_nano = excluded.live_nano, "
    "used_ms = excluded.used_ms, recalled_ms = excluded.recalled_ms"
)
_INSERT_REPLIES: Final = (
    f"INSERT INTO {_REPLIES} (session_id, ask_id, reply, at) SELECT c0, c1, c2, {{now}} FROM {{rows}}"  # noqa: S608
)
_INSERT_REPLY: Final = f"INSERT INTO {_REPLIES} (session_id, ask_id, reply, at) VALUES (?, ?, ?, ?)"  # noqa: S608
_TYPES: Final = {
    _FIND_ACCOUNTS: ("text",) * 3,
    _UPDATE_ACCOUNTS: ("bigint",) * 7,
    _INSERT_LEASES: ("text", *("bigint",) * 8),
    _INSERT_REPLIES: ("text", "bigint", "bytea"),
}


class Locks(Enum):
    """What to do about rows that somebody else holds."""

    WAIT = "wait"  # as long as the process waits for anything
    SHORT = "short"  # LOCK_MS; then the database says so, and nothing is done
    SKIP = "skip"  # go on without them: what cannot be skipped is waited for AGAIN_MS


Statement = tuple[str, Sequence[Any]]  # its text, and what stands for $1, $2, …


@dataclass(frozen=True, slots=True)
class StoredRows:
    """As they are stored: sessions and accounts locked, with the leases that may hold something of these accounts."""

    revision: tuple[str, int]
    sessions: Sequence[tuple[str, int, str, str, int]]  # id, expires_ms, state, identity, alone_ms
    accounts: Sequence[tuple[Any, ...]]  # id, the three names, ends_ms, and the six amounts
    leases: Sequence[tuple[Any, ...]]  # session, account, seven figures; the session's expires_ms and state


def read(sessions: Iterable[str], accounts: Iterable[int], locks: Locks = Locks.WAIT) -> StoredRows:
    """Locks sessions, then accounts, each by id: so does everybody, and no two wait for each other."""
    some, ids = sorted(set(sessions)), sorted(set(accounts))
    revision, texts, numbers = _texts(_READ[0]), _array(some), _array(ids)
    postgres = connection.vendor == "postgresql"  # SQLite has one writer, and no locks of rows
    skip = " SKIP LOCKED" if postgres and locks is Locks.SKIP else ""
    queries: list[Statement] = [
        *_short(locks),
        (revision, ()),
        (_texts(_READ[1] + skip), (texts,)),
        (_texts(_READ[2] + skip), (numbers,)),
        (_texts(_READ[3]), (numbers, texts)),
    ]
    revisions, session_rows, account_rows, lease_rows = _run(queries)[-4:]
    return StoredRows(revisions[0] if revisions else ("", 0), session_rows, account_rows, lease_rows)


def account_ids(refs: Iterable[AccountRef]) -> dict[AccountRef, int]:
    """The ids of those that exist."""
    names = sorted(set(refs))
    (rows,) = _run([_statement(_FIND_ACCOUNTS, names)]) if names else [[]]
    return {AccountRef(*row[1:]): row[0] for row in rows}


def wait_no_longer(locks: Locks) -> None:
    """From here on in this transaction."""
    _run(_short(locks))


def held_leases(leases: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
    """Those of these, by session and account, that somebody else holds; the others are locked."""
    leases = set(leases)
    if connection.vendor != "postgresql" or not leases:
        return set()
    (free,) = _run([(_texts(_FREE_LEASES), (_array(sorted({account for _, account in leases})),))])
    return leases - {(session, account) for session, account in free}


def session_ids(sessions: Iterable[str]) -> set[str]:
    """Those that exist, whoever holds them."""
    (rows,) = _run([(_texts(_FIND_SESSIONS), (_array(sorted(sessions)),))])
    return {row[0] for row in rows}


@dataclass
class Writes:
    """What one unit of work writes, in one go."""

    now: datetime
    accounts: Sequence[tuple[int, AccountRow]] = ()  # locked by the caller
    leases: Sequence[tuple[int, LeaseRow]] = ()  # new ones, and new figures of known ones
    replies: Sequence[tuple[str, int, bytes]] = ()  # session, ask, what was answered

    def run(self) -> None:
        """Raises IntegrityError for an ask that was answered before, and for what breaks a limit."""
        accounts = [
            (pk, row.limit, row.settled, row.held, row.overdraft_used, row.overdraft_limit, row.excess)
            for pk, row in self.accounts
        ]
        leases = [
            (row.session, pk, row.granted, row.consumed, row.returned, row.free, row.live, row.used_ms, row.recalled_ms)
            for pk, row in self.leases
        ]
        now = connection.ops.adapt_datetimefield_value(self.now)
        statements = [
            _statement(text, rows, now)
            for text, rows in ((_UPDATE_ACCOUNTS, accounts), (_INSERT_LEASES, leases))
            if rows
        ]
        if connection.vendor == "postgresql":
            if self.replies:
                statements.append(_statement(_INSERT_REPLIES, self.replies, now))
            _run(statements)
            return
        _run(statements)
        with connection.wrap_database_errors:  # JSON has no bytes
            connection.connection.executemany(_INSERT_REPLY, [(*reply, now) for reply in self.replies])


def is_locked(problem: Exception) -> bool:
    """Whether the database gave up waiting for what somebody else holds."""
    return isinstance(problem.__cause__, LockNotAvailable)


class UnlessLocked:
    """A block that is given up where `is_locked`: what follows it says what comes then."""

    def __enter__(self) -> None:
        return

    def __exit__(self, _type: object, problem: BaseException | None, _traceback: object) -> bool:
        return isinstance(problem, OperationalError) and is_locked(problem)


def insert_crossings(rows: Sequence[Crossing]) -> None:
    """A threshold is crossed once under each limit; the listeners are told when that is committed."""
    if rows:
        Crossing.objects.bulk_create(rows, ignore_conflicts=True)
        transaction.on_commit(tell_listeners)


# ---- two databases -------------------------------------------------------------------------------------------------


def _run(statements: Sequence[Statement]) -> list[list[Any]]:
    """One after the other, in one message where the database can: the rows of each. Raises Django's database errors."""
    if not statements:
        return []
    connection.ensure_connection()
    with connection.wrap_database_errors:
        if connection.vendor == "postgresql":
            return _pipelined(connection.connection, statements)
        results = []
        for text, parameters in statements:
            named = {str(number): value for number, value in enumerate(parameters, 1)}
            results.append(connection.connection.execute(text, named).fetchall())
        return results


def _short(locks: Locks) -> list[Statement]:
    if connection.vendor != "postgresql" or locks is Locks.WAIT:
        return []
    return [(f"SET LOCAL lock_timeout = {LOCK_MS if locks is Locks.SHORT else AGAIN_MS}", ())]


def _pipelined(raw: psycopg.Connection[Any], statements: Sequence[Statement]) -> list[list[Any]]:
    if not connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):  # said of a pooler between transactions
        raw.prepare_threshold = 0
    cursors = []
    with raw.pipeline():
        for text, parameters in statements:
            cursor = psycopg.RawCursor(raw)
            cursor.execute(text.encode(), parameters)
            cursors.append(cursor)
    return [cursor.fetchall() if cursor.description else [] for cursor in cursors]


_dialects: dict[tuple[str, str], str] = {}


def _texts(text: str) -> str:
    """In the words of the database that is connected."""
    translation = _dialects.get((connection.vendor, text))
    if translation is None:
        postgres = connection.vendor == "postgresql"
        among = "= ANY({n}::{kind}[])" if postgres else "IN (SELECT value FROM json_each({n}))"
        types = _TYPES.get(text, ())
        translation = text.format(
            rows=_table(types, postgres),
            now=f"${len(types) + 1 if postgres else 2}",
            lock="FOR NO KEY UPDATE" if postgres else "",
            among_texts=among.format(n="$1", kind="text"),
            among_ids=among.format(n="$1", kind="bigint"),
            among_texts_too=among.format(n="$2", kind="text"),
            ends_ms="(extract(epoch FROM ends_at) * 1000)::bigint"
            if postgres
            else "CAST(strftime('%s', ends_at) AS INTEGER) * 1000",  # windows end on whole seconds
        )
        _dialects[connection.vendor, text] = translation
    return translation


def _statement(text: str, values: Sequence[tuple[Any, ...]], now: Any = None) -> Statement:
    """`{rows}` in the text is a table of the values, columns c0, c1, …; `{now}` is the last argument."""
    columns = list(zip(*values, strict=True)) if connection.vendor == "postgresql" else [values]
    parameters: list[Any] = [_array(column) for column in columns]
    if "{now}" in text:
        parameters.append(now)
    return _texts(text), parameters


def _table(types: Sequence[str], postgres: bool) -> str:
    """A table of the parameters, with the columns c0, c1, …"""
    names = [f"c{number}" for number in range(len(types))]
    if postgres:
        arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, 1))
        return f"unnest({arrays}) AS given({', '.join(names)})"
    columns = ", ".join(f"json_extract(value, '$[{number}]') AS {name}" for number, name in enumerate(names))
    return f"(SELECT {columns} FROM json_each($1)) AS given"  # noqa: S608


def _array(values: Sequence[Any]) -> str:
    """Of numbers, texts or bytes, all of one kind; for SQLite, of whatever JSON has."""
    if connection.vendor != "postgresql":
        return json.dumps(values)
    first = values[0] if values else 0
    if isinstance(first, int):
        return "{" + ",".join(map(str, values)) + "}"
    if isinstance(first, bytes):
        return "{" + ",".join([f'"\\\\x{value.hex()}"' for value in values]) + "}"
    quoted = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return "{" + ",".join([f'"{value}"' for value in quoted]) + "}"
