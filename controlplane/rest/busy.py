"""`busy()` recognizes errors that say that the database cannot serve at this moment.

It is locked, unreachable, full, restarting or too slow. Such a request is answered 503 and worth another try; any other
error of a database is a defect of ours.
"""

from __future__ import annotations

import sqlite3

import psycopg
from django.db import InterfaceError, InternalError, OperationalError

RETRY_AFTER_S = 5  # below 20, above which several clients sleep in silence

# https://www.sqlite.org/rescode.html. Everything else, such as a missing table, is an OperationalError there as well.
_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
# A primary that became a replica; a transaction that was idle for too long. psycopg calls these InternalError.
_POSTGRESQL = frozenset({"25006", "25P03"})


class OutOfTime(OperationalError):
    """The request has used up its time with the database."""


def busy(error: BaseException | None) -> bool:
    match error:
        case OutOfTime() | psycopg.OperationalError() | psycopg.InterfaceError():
            return True
        case sqlite3.OperationalError():
            return error.sqlite_errorcode & 0xFF in _SQLITE
        case psycopg.InternalError():
            return error.sqlstate in _POSTGRESQL
        case OperationalError() | InterfaceError() | InternalError():
            return busy(error.__cause__)
    return False
