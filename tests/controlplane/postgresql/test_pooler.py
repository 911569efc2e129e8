"""Behind a pooler: nothing that it refuses is sent, it has to be declared, and what it cannot do goes another way."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import pytest
from django.db import OperationalError, connection
from pydantic import SecretStr

from controlplane.connections import database_settings, listen_settings
from controlplane.environment import Environment
from controlplane.fleet.state import notify
from controlplane.postgresql.waits import within
from controlplane.web.deadline import Deadline
from tests.controlplane.postgresql.pooler import Pooler
from tests.controlplane.postgresql.test_silence import Connect, ask


@pytest.fixture
def pooled(postgres_url: str) -> Iterator[str]:
    """A URL whose connections go through a pooler."""
    parts = urlsplit(postgres_url)
    pooler = Pooler(f"{unquote(parts.query.partition('host=')[2])}/.s.PGSQL.5432")
    yield f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{pooler.port}/postgres"
    pooler.close()


def test_a_pooler_between_sessions_takes_us_and_our_waits_hold(pooled: str, connect: Connect):
    database = connect(pooled, database_pooling="session", statement_timeout_ms=1_000)
    assert ask(database, "SHOW statement_timeout") == "1s"


def test_between_transactions_nothing_is_set_that_the_next_client_would_find(pooled: str, connect: Connect):
    database = connect(pooled, database_pooling="transaction", statement_timeout_ms=1_000)
    with database.execute_wrapper(Deadline(5.0)):  # less than a statement may take: elsewhere it would be set
        assert ask(database, "SHOW statement_timeout") == "0"
    assert database.connection.answer_s < 2.0  # the client keeps the time alone
    assert database.connection.prepare_threshold is None
    assert database.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] is True


def test_an_undeclared_pooler_is_refused_and_the_words_reach_whoever_asked(pooled: str, connect: Connect):
    database = connect(pooled)
    with within(60, connection_s=1.0), pytest.raises(OperationalError) as refused:
        ask(database)
    assert "AIGATEWAY_DATABASE_POOLING to session or to transaction" in str(refused.value)


def test_what_a_pooler_says_of_a_parameter_is_said_too(pooled: str, connect: Connect):
    database = connect(f"{pooled}?options=-c%20search_path%3Dgateway", database_pooling="session")
    with within(60, connection_s=1.0), pytest.raises(OperationalError) as refused:
        ask(database)
    assert "unsupported startup parameter: options" in str(refused.value)


@pytest.mark.parametrize(
    ("pooling", "own", "listens"),
    [("none", "", True), ("session", "", True), ("transaction", "", False), ("transaction", "postgresql://x/y", True)],
)
def test_who_listens_and_who_reads_again(monkeypatch: pytest.MonkeyPatch, pooling: str, own: str, listens: bool):
    environment = Environment.model_validate(
        {
            "database_url": SecretStr("postgresql://pooler/gateway"),
            "database_pooling": pooling,
            "listen_database_url": SecretStr(own),
        }
    )
    monkeypatch.setattr(notify, "environment", lambda: environment)
    monkeypatch.setattr(connection, "vendor", "postgresql")
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", database_settings(environment)["OPTIONS"])
    assert notify.poll_s() == (1.0 if listens else 0.2)
    assert bool(listen_settings(environment)) == bool(own)
