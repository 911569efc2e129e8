"""`busy()` recognizes errors that say that the database cannot serve at this moment.

It is locked, unreachable, full, restarting or too slow. Such a request is answered 503 and worth another try; any other
error of a database is a defect of ours.
"""

from __future__ import annotations

import sqlite3

import psycopg
from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError
from django.db.transaction import TransactionManagementError

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
# https://www.postgresql.org/docs/current/errcodes-appendix.html. By class: the connection, no login at the moment,
# somebody else's transaction, no room, an operator, the system.
_CLASSES = frozenset({"08", "28", "40", "53", "57", "58"})
# A lock that was not to be had, or something in use; a primary that became a replica; a transaction that was idle for
# too long.
_POSTGRESQL = frozenset({"55P03", "55006", "25006", "25P03"})
# What Django says itself, once the connection was lost in the middle of a transaction.
_LOST = "Cannot open a new connection in an atomic block."


class OutOfTime(OperationalError):
    """The request has used up its time with the database."""


def busy(error: BaseException | None) -> bool:
    match error:
        case OutOfTime() | psycopg.InterfaceError():
            return True
        case psycopg.OperationalError() | psycopg.InternalError():
            return _passes(error)
        case sqlite3.OperationalError():
            return error.sqlite_errorcode & 0xFF in _SQLITE
        case ProgrammingError() if error.args == (_LOST,):
            return True
        case OperationalError() | InterfaceError() | InternalError() | TransactionManagementError():
            return busy(error.__cause__)
    return False


def _passes(error: psycopg.Error) -> bool:
    """Without a code it is the client that speaks, of the connection; a statement that is too complex has one."""
    code = error.sqlstate
    if code is None:
        return isinstance(error, psycopg.OperationalError)
    return code[:2] in _CLASSES or code in _POSTGRESQL
