"""Houses for contract tests. `house` is shared by tests that leave it as they found it; the others open their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import psycopg.sql
import pytest

from tests.contract.house import House, open_house


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    opened = open_house(tmp_path_factory.mktemp("house"), pods=2)
    yield opened
    opened.close()


@pytest.fixture
def build_house(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Opens houses that end with the test."""
    opened: list[House] = []

    def build(**options: Any) -> House:
        house = open_house(tmp_path / f"house{len(opened)}", **options)
        opened.append(house)
        return house

    yield build
    for house in opened:
        house.close()


def fresh_database(server_url: str, name: str) -> str:
    """A new database on that server; its URL."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    head, _, query = server_url.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}?{query}"
