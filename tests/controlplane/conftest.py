"""The control plane's tests: `db` for one transaction, `transactional_db` for threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection


@pytest.fixture
def in_threads(transactional_db: None) -> Callable[..., list[Any]]:
    """Run a function once per argument, each on a thread and a database connection of its own."""

    def run(function: Callable[[Any], Any], arguments: list[Any]) -> list[Any]:
        def one(argument: Any) -> Any:
            try:
                return function(argument)
            finally:
                connection.close()

        with ThreadPoolExecutor(len(arguments)) as pool:
            return list(pool.map(one, arguments))

    return run
