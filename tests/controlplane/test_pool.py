"""Whoever waits for a database that was away is served soon after it is back, however long it was away."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg_pool import ConnectionPool, PoolClosed
from psycopg_pool.base import AttemptWithBackoff

PATIENCE_S = 10.0


def test_the_pool_looks_for_a_lost_database_at_an_even_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """With pauses that double the tenth attempt would come after 25 s, and everybody have given up."""
    monkeypatch.setattr(AttemptWithBackoff, "INITIAL_DELAY", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as nobody, ThreadPoolExecutor(1) as waits:
        nobody.settimeout(PATIENCE_S)
        at = f"host=127.0.0.1 port={nobody.getsockname()[1]} dbname=x user=x sslmode=disable gssencmode=disable"
        pool = ConnectionPool(at, min_size=0, max_size=1, timeout=PATIENCE_S, open=True)
        client = waits.submit(pool.getconn)
        for _ in range(10):
            nobody.accept()[0].close()
        pool.close()
        with pytest.raises(PoolClosed):
            client.result()
