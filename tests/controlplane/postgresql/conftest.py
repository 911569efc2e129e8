"""A database behind a link that misbehaves, as Django connects to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from django.db.utils import ConnectionHandler
from pydantic import SecretStr

from controlplane.connections import database_settings
from controlplane.environment import Environment
from controlplane.postgresql import connection as connections
from controlplane.postgresql import pool as pools
from controlplane.postgresql import waits
from controlplane.postgresql.base import DatabaseWrapper
from tests.contract.faults import FaultyLink

SHORT_S = 0.3  # what nobody answers is given up after it, where an installation takes seconds


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "GRACE_S", SHORT_S)
    monkeypatch.setattr(pools, "CHECK_S", SHORT_S)
    monkeypatch.setattr(connections.BoundedConnection, "answer_s", SHORT_S)


@pytest.fixture
def link(postgres_url: str) -> Iterator[FaultyLink]:
    directory = unquote(urlsplit(postgres_url).query.partition("host=")[2])
    opened = FaultyLink(f"{directory}/.s.PGSQL.5432")
    yield opened
    opened.close()


@pytest.fixture
def connect(quick: None, django_db_blocker: Any) -> Iterator[Callable[..., DatabaseWrapper]]:
    """One more thread's connection, of the pool that all with this URL share."""
    handlers: dict[str, ConnectionHandler] = {}
    opened: list[DatabaseWrapper] = []

    def make(url: str, **variables: Any) -> DatabaseWrapper:
        if url not in handlers:
            environment = Environment(database_url=SecretStr(url), database_pool=4, **variables)
            settings = database_settings(environment)
            settings["OPTIONS"]["pool"]["timeout"] = 5
            handlers[url] = ConnectionHandler({"default": {}, f"through-{len(handlers)}": settings})
        handler = handlers[url]
        (alias,) = set(handler.settings) - {"default"}
        wrapper = handler.create_connection(alias)
        assert isinstance(wrapper, DatabaseWrapper)
        wrapper.inc_thread_sharing()
        opened.append(wrapper)
        return wrapper

    with django_db_blocker.unblock():
        yield make
        for wrapper in opened:
            wrapper.close()
        for wrapper in opened:
            if wrapper.alias in DatabaseWrapper._connection_pools:  # type: ignore[attr-defined]
                wrapper.close_pool()


@pytest.fixture
def url(link: FaultyLink, postgres_url: str) -> str:
    parts = urlsplit(postgres_url)
    return f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{link.port}/postgres"
