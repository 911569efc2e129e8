"""While the database cannot serve, programs get a problem and people a page, before anybody gives up waiting."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import (
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
    transaction,
)
from django.db.transaction import TransactionManagementError
from django.test import Client
from psycopg import errors
from psycopg_pool import PoolTimeout

from controlplane.environment import Environment
from controlplane.postgresql.connection import SilentDatabase
from controlplane.postgresql.waits import Waits, patience
from controlplane.rest.busy import OutOfTime, busy
from controlplane.tenancy import actions as tenancy
from controlplane.tenancy.models import Role
from controlplane.tenancy.tokens import new_token
from controlplane.web.deadline import ANSWER_S, LONGEST_WAIT_S, STATEMENT_S, Deadline, bound, deadline
from controlplane.web.sessions import SessionStore
from tests.controlplane import factories as make
from tests.controlplane.fleet.test_process import database_url
from tests.controlplane.web.process import BEFORE_S, web

QUICK = {"DATABASE_WAIT_S": "0.2"}


def wrapped(kind: type[Exception], cause: Exception) -> Exception:
    error = kind("of Django")
    error.__cause__ = cause
    return error


def of_sqlite(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("of SQLite")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    "error",
    [
        *(
            wrapped(OperationalError, of_sqlite(code))
            for code in (
                sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_SNAPSHOT, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR_WRITE,
                sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_INTERRUPT,
            )
        ),
        *(
            wrapped(OperationalError, kind("of PostgreSQL"))
            for kind in (
                psycopg.OperationalError, PoolTimeout, errors.QueryCanceled, errors.LockNotAvailable,
                errors.TooManyConnections, errors.AdminShutdown, errors.CannotConnectNow, errors.DeadlockDetected,
                errors.SerializationFailure, errors.DiskFull, SilentDatabase, errors.CrashShutdown,
                errors.ConnectionFailure, errors.ConnectionException, errors.ProtocolViolation, errors.OutOfMemory,
                errors.IoError, errors.InvalidPassword, errors.ObjectInUse,
            )
        ),
        wrapped(OperationalError, of_sqlite(sqlite3.SQLITE_READONLY)),
        wrapped(InternalError, errors.IdleInTransactionSessionTimeout()),
        wrapped(TransactionManagementError, wrapped(OperationalError, errors.AdminShutdown("of PostgreSQL"))),
        ProgrammingError("Cannot open a new connection in an atomic block."),
        wrapped(InterfaceError, psycopg.InterfaceError("the connection is closed")),
        wrapped(InternalError, errors.ReadOnlySqlTransaction()),
        OutOfTime(),
    ],
    ids=lambda error: type(error.__cause__ or error).__name__,
)  # fmt: skip
def test_these_pass_by_themselves(error: Exception):
    assert busy(error)


@pytest.mark.parametrize(
    "error",
    [
        wrapped(OperationalError, of_sqlite(sqlite3.SQLITE_ERROR)),  # no such table, a mistake in a statement
        wrapped(ProgrammingError, errors.UndefinedTable()),
        wrapped(IntegrityError, errors.UniqueViolation()),
        wrapped(InternalError, errors.InFailedSqlTransaction()),
        wrapped(OperationalError, errors.StatementTooComplex()),
        wrapped(OperationalError, errors.ObjectNotInPrerequisiteState()),
        wrapped(InternalError, errors.DataCorrupted()),
        TransactionManagementError("This code isn't under transaction management"),
        ProgrammingError("Cannot open a new window."),
        ValueError("database is locked"),
        OperationalError("of nobody"),
    ],
    ids=lambda error: type(error.__cause__ or error).__name__,
)
def test_these_are_defects(error: Exception):
    assert not busy(error)


FAILURES = [
    wrapped(OperationalError, PoolTimeout("couldn't get a connection after 1.50 sec: canary")),
    *(
        wrapped(InternalError if issubclass(kind, psycopg.InternalError) else OperationalError, kind("canary"))
        for kind in map(
            errors.lookup,
            (
                "25006",
                "53100",
                "53300",
                "57P01",
                "57P02",
                "57P03",
                "57014",
                "55P03",
                "08000",
                "08003",
                "08006",
                "08P01",
            ),
        )
    ),
    wrapped(OperationalError, psycopg.OperationalError("server closed the connection unexpectedly: canary")),
    wrapped(InterfaceError, psycopg.InterfaceError("the connection is closed: canary")),
    *(
        wrapped(OperationalError, of_sqlite(code))
        for code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL)
    ),
]


@pytest.mark.django_db
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: f"{type(error.__cause__).__name__}")
def test_whatever_the_database_says_and_wherever_it_says_it_nobody_gets_a_500(
    error: Exception, monkeypatch: pytest.MonkeyPatch
):
    """A program by token and one that is signed in, people, the login, static files, probes."""
    organization = make.organization()
    _, token = tenancy.mint_token(by=make.SYSTEM, organization=organization, name="ci", role=Role.ADMIN)
    headers = {"Authorization": f"Bearer {token.reveal().decode()}", "Idempotency-Key": "a-key-of-a-test"}
    browser, stranger = Client(raise_request_exception=False), Client(raise_request_exception=False)
    browser.force_login(make.user(is_superuser=True))

    def fails(*_: Any, **__: Any) -> None:
        raise error

    body = '{"name": "x", "slug": "x", "organization_id": "o"}'
    with connection.execute_wrapper(fails), monkeypatch.context() as patched:
        patched.setattr(connection, "set_autocommit", lambda *_, **__: None)  # a transaction begins without a statement
        programs = [
            stranger.get("/api/v1/teams", headers=headers),
            stranger.post("/api/v1/teams", body, headers=headers, content_type="application/json"),
            browser.get("/api/v1/teams"),
        ]
        people = [
            browser.get("/admin/"),
            stranger.post("/admin/login/", {"username": "x", "password": "y"}),
        ]
        fine = [each.get(path) for each in (browser, stranger) for path in ("/healthz", "/metrics", "/")]
        fine.append(browser.get("/static/unfold/css/styles.css"))
        ready = browser.get("/readyz")
    for answer in programs:
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
        assert answer.json()["code"] == "database_busy"
    for answer in people:
        assert answer.status_code == 503
        assert "busy or not there" in answer.content.decode()
    assert ready.status_code == 503
    for answer in (*programs, *people, ready):
        assert 1 <= int(answer.headers["Retry-After"]) <= 20
        assert "canary" not in answer.content.decode()
    assert [answer.status_code for answer in fine] == [200, 200, 302] * 2 + [200]


@pytest.mark.django_db
def test_a_session_is_not_touched_by_who_only_looks_whether_the_process_lives(monkeypatch: pytest.MonkeyPatch):
    browser = Client()
    browser.force_login(make.user(is_superuser=True))
    monkeypatch.setattr(SessionStore, "save", lambda *_, **__: pytest.fail("it was saved"))
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/", 302)):
        assert browser.get(path).status_code == status
    assert browser.get("/healthz", HTTP_HOST="evil.example").status_code == 400


# ---- with somebody else's lock ----


@contextmanager
def locked() -> Iterator[None]:
    """Another connection holds what every write and every session needs."""
    other: Any
    if connection.vendor == "sqlite":
        other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
    else:
        other = psycopg.connect(database_url())
        other.execute("LOCK TABLE changes_revision, django_session IN ACCESS EXCLUSIVE MODE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_somebody_elses_lock_is_answered_in_words_and_forgotten_when_it_is_gone(tmp_path: Path):
    organization = make.organization()
    _, token = tenancy.mint_token(by=make.SYSTEM, organization=organization, name="ci", role=Role.ADMIN)
    headers = {"Authorization": f"Bearer {token.reveal().decode()}"}
    browser = Client()
    browser.force_login(make.user(is_superuser=True))
    cookies = {"Cookie": f"aigateway_session={browser.cookies['aigateway_session'].value}"}
    body = {"organization_id": organization.pk, "name": "Core", "slug": "core"}
    with web(tmp_path, **QUICK) as client:
        assert client.get("/admin/", headers=cookies).status_code == 200
        with locked():
            program = client.post("/api/v1/teams", json=body, headers=headers)
            person = client.get("/admin/", headers=cookies)
        assert client.post("/api/v1/teams", json=body, headers=headers).status_code == 201
    assert program.status_code == 503
    assert program.headers["Content-Type"] == "application/problem+json"
    assert 1 <= int(program.headers["Retry-After"]) <= 20
    problem = program.json()
    assert (problem["code"], problem["status"]) == ("database_busy", 503)
    assert problem["request_id"] == program.headers["X-Langwatch-Request-Id"]
    assert person.status_code == 503
    assert "busy or not there" in person.text
    assert 1 <= int(person.headers["Retry-After"]) <= 20
    assert "default-src" in person.headers["Content-Security-Policy"]
    for said in (program.text, person.text):
        assert not {"sqlite", "psycopg", "Traceback", "locked", "changes_revision"} & set(said.split())


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", ["postgresql://nobody:canary@127.0.0.1:1/none", "sqlite:///{directory}"])
def test_a_database_that_is_not_there_is_answered_in_words(tmp_path: Path, url: str):
    with web(tmp_path, DATABASE_URL=url.format(directory=tmp_path), **QUICK) as client:
        program = client.get("/api/v1/teams", headers={"Authorization": f"Bearer {some_token()}"})
        person = client.get("/admin/", headers={"Cookie": "aigateway_session=abcdefghijklmnopqrstuvwxyz012345"})
        ready, alive = client.get("/readyz"), client.get("/healthz")
    assert [answer.status_code for answer in (program, person, ready, alive)] == [503, 503, 503, 200]
    assert program.json()["code"] == "database_busy"
    assert ready.json() == {"status": "not ready", "because": "The database does not answer."}
    for answer in (program, person, ready):
        assert "Retry-After" in answer.headers
        assert not any(word in answer.text for word in ("canary", "nobody", "127.0.0.1", "Traceback", str(tmp_path)))


def some_token() -> str:
    return new_token()[0].reveal().decode()


# ---- the sum of all waits ----


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Driver:
    def __init__(self) -> None:
        self.said: list[Any] = []

    def execute(self, sql: str, parameters: Any = ()) -> None:
        self.said.append(parameters[0] if parameters else sql)

    def set_progress_handler(self, handler: Callable[[], bool] | None, steps: int) -> None:
        self.said.append(handler)


class Connection:
    settings_dict = {"OPTIONS": {"timeout": 5, "waits": Waits(15_000)}}

    def __init__(self, vendor: str) -> None:
        self.vendor, self.connection = vendor, Driver()


def run(ends: Deadline, on: Connection, sql: str = "SELECT 1") -> object:
    return ends(lambda *_: "done", sql, None, False, {"connection": on})


def test_a_statement_that_begins_late_gets_what_is_left_and_then_none_begins():
    clock, on = Clock(), Connection("postgresql")
    ends = Deadline(ANSWER_S, clock)
    assert run(ends, on) == "done"
    assert on.connection.said == []
    clock.now = 10.0
    assert run(ends, on) == "done"
    assert on.connection.said == ["8000"]
    clock.now = ANSWER_S
    with pytest.raises(OutOfTime):
        run(ends, on)
    ends.undo()
    assert on.connection.said[-1] == "15000"


def test_once_the_database_has_failed_a_request_it_is_not_asked_again():
    on, ends = Connection("postgresql"), Deadline(ANSWER_S, Clock())

    def locked_out(*_: Any) -> None:
        raise wrapped(OperationalError, errors.LockNotAvailable())

    def is_wrong(*_: Any) -> None:
        raise wrapped(ProgrammingError, errors.UndefinedTable())

    with pytest.raises(ProgrammingError):
        ends(is_wrong, "SELECT 1", None, False, {"connection": on})
    assert run(ends, on) == "done"
    with pytest.raises(OperationalError):
        ends(locked_out, "UPDATE x", None, False, {"connection": on})
    with pytest.raises(OutOfTime):
        run(ends, on)
    assert run(ends, on, "ROLLBACK TO SAVEPOINT x") == "done"


def test_all_waits_for_a_connection_of_one_request_are_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(connections.settings["default"]["OPTIONS"], "pool", {"timeout": 1.5})
    with deadline():
        assert patience().connection_s == 1.5
        assert ANSWER_S < patience().left_s < BEFORE_S  # the server's own timeout comes first, and nobody has left yet
    assert patience().connection_s == float("inf")


def test_sqlite_stops_a_long_statement_and_starts_no_wait_that_would_be_too_long():
    clock, on = Clock(), Connection("sqlite")
    ends = Deadline(ANSWER_S, clock)
    run(ends, on)
    (asks,) = on.connection.said
    assert asks() is False
    clock.now = ANSWER_S - 4
    assert run(ends, on) == "done"
    with pytest.raises(OutOfTime):
        run(ends, on, "BEGIN IMMEDIATE")
    clock.now = ANSWER_S
    assert asks() is True
    ends.undo()
    assert on.connection.said == [asks, None]


@pytest.mark.django_db
def test_a_statement_that_is_too_slow_ends_and_its_connection_serves_on():
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        if connection.vendor == "sqlite"
        else "SELECT pg_sleep(3600)"
    )
    ends = Deadline(0.2)
    with (
        connection.execute_wrapper(ends),
        connection.cursor() as cursor,
        pytest.raises(OperationalError) as stopped,
        transaction.atomic(),
    ):
        cursor.execute(endless)
    ends.undo()
    assert busy(stopped.value)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_whatever_is_set_the_sum_stays_below_what_clients_wait_for():
    field = Environment.model_fields["database_wait_s"]
    assert field.default <= 2 - 0.5  # answered within 2 s
    assert max(rule.le for rule in field.metadata if hasattr(rule, "le")) == LONGEST_WAIT_S
    assert ANSWER_S + 1 < BEFORE_S
    # One that begins at once, after the longest wait for a connection, is still within.
    assert STATEMENT_S <= ANSWER_S
    options: dict[str, Any] = {"pool": {"max_size": 3, "timeout": 10}, "waits": Waits(25_000, pooling="session")}
    bound({"ENGINE": "x.postgresql", "OPTIONS": options}, wait_s=1.5)
    assert options["pool"] == {"max_size": 3, "timeout": 1.5}
    assert options["waits"] == Waits(15_000, 1_500, "session")
    for given, used in ((4_000, 4_000), (0, 15_000)):  # never is for whoever does not answer anybody
        short: dict[str, Any] = {"pool": {}, "waits": Waits(given)}
        bound({"ENGINE": "x.postgresql", "OPTIONS": short}, wait_s=1)
        assert short["waits"].statement_ms == used
    lite: dict[str, Any] = {"timeout": 20}
    bound({"ENGINE": "x.sqlite3", "OPTIONS": lite}, wait_s=5)
    assert lite["timeout"] == 5
