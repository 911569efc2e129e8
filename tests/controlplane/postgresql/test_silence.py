"""Whatever swallows the bytes of a connection: who waits on it is told, and the next one asks on a new connection."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import OperationalError
from psycopg_pool import PoolTimeout

from controlplane.fleet.state import notify
from controlplane.postgresql.base import DatabaseWrapper
from controlplane.postgresql.connection import Silence, SilentDatabase, until
from controlplane.postgresql.waits import Patience, Waits, within
from controlplane.rest.busy import busy
from tests.contract.faults import FaultyLink, Mode
from tests.contract.house import eventually

Connect = Callable[..., DatabaseWrapper]
ONE_S = {"statement_timeout_ms": 1_000}


def ask(database: DatabaseWrapper, sql: str = "SELECT 1") -> Any:
    with database.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
    return row[0]


def test_a_statement_whose_answer_never_comes_ends_and_the_whole_pool_is_made_anew(
    link: FaultyLink, url: str, connect: Connect, caplog: pytest.LogCaptureFixture
):
    asking, idle = connect(url, **ONE_S), connect(url)
    assert (ask(asking), ask(idle)) == (1, 1)
    idle.close()  # to the pool
    link.forget()
    assert link.forgotten == 2
    with caplog.at_level(logging.WARNING), pytest.raises(OperationalError) as silent:
        ask(asking)
    assert isinstance(silent.value.__cause__, SilentDatabase)
    assert busy(silent.value)
    assert any("database_silent" in record.message for record in caplog.records)
    asking.close()
    eventually("both are closed, the idle one too", lambda: link.forgotten == 0)
    assert ask(asking) == 1


def test_a_transaction_that_falls_silent_is_over_and_the_thread_goes_on(link: FaultyLink, url: str, connect: Connect):
    database = connect(url, **ONE_S)
    database.set_autocommit(False)
    ask(database)
    link.forget()
    for step in (lambda: ask(database), database.rollback):  # the second one waits for nothing any more
        with pytest.raises(OperationalError):
            step()
    database.close()
    assert ask(database) == 1


def test_a_dead_connection_is_found_by_asking_it_and_never_lent(link: FaultyLink, url: str, connect: Connect):
    threads = [connect(url) for _ in range(3)]
    assert [ask(each) for each in threads] == [1, 1, 1]
    for each in threads:
        each.close()
    link.forget()
    assert ask(threads[0]) == 1
    eventually("all three are closed after one was asked", lambda: link.forgotten == 0)


def test_new_connections_that_are_swallowed_cost_what_one_is_ready_to_wait_once(
    link: FaultyLink, url: str, connect: Connect
):
    link.set(Mode.HOLE)
    database = connect(url, **ONE_S)
    with within(60, connection_s=0.2):
        for _ in range(3):  # the first wait takes all of it: token, session, brake do not wait one after the other
            with pytest.raises(OperationalError) as late:
                ask(database)
            assert isinstance(late.value.__cause__, PoolTimeout)
        assert database.pool is not None
        assert database.pool.get_stats()["requests_queued"] == 1
    link.set(Mode.PASS)
    assert eventually("a new connection is made", lambda: tried(database)) == 1


def tried(database: DatabaseWrapper) -> int:
    try:
        return int(ask(database))
    except OperationalError:
        return 0


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose SYN packets are swallowed: as many connections wait as may, and nobody accepts them."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            waiting.append(one)
        yield listener.getsockname()[1]
        for one in waiting:
            one.close()


def test_a_host_that_swallows_syn_packets(full: int, connect: Connect):
    database = connect(f"postgresql://somebody@127.0.0.1:{full}/nothing?connect_timeout=2")
    with within(60, connection_s=0.2), pytest.raises(OperationalError) as late:
        ask(database)
    assert busy(late.value)


def test_what_stood_in_the_way_is_said_and_not_only_that_time_is_over(connect: Connect, link: FaultyLink, url: str):
    link.set(Mode.REFUSE)
    database = connect(url)
    assert database.pool is not None
    database.pool.open()
    with within(60, connection_s=0.5), pytest.raises(OperationalError) as late:
        ask(database)
    said = str(late.value)
    assert "couldn't get a connection after" in said
    assert "connection" in said.partition(": ")[2]
    assert f"port {link.port}" in said


def test_every_new_connection_is_told_its_waits_by_set(url: str, connect: Connect):
    database = connect(url, **ONE_S)
    settings = {
        name: ask(database, f"SHOW {name}")
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    }
    assert settings == {
        "statement_timeout": "1s",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "1min",
    }
    assert database.connection.answer_s == Waits(1_000).answer_s


def test_a_slow_statement_is_ended_by_the_server_and_its_connection_serves_on(url: str, connect: Connect):
    database = connect(url, **ONE_S)
    before = ask(database, "SELECT pg_backend_pid()")
    with pytest.raises(OperationalError, match="statement timeout"):
        ask(database, "SELECT pg_sleep(60)")
    assert ask(database, "SELECT pg_backend_pid()") == before


def test_the_listener_closes_itself_when_it_hears_nothing(link: FaultyLink, url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notify, "QUIET_S", 0.2)
    monkeypatch.setattr(notify, "CHECK_S", 0.2)
    monkeypatch.setattr(notify, "RECONNECT_S", 0.0)
    monkeypatch.setattr(notify, "_listening", lambda: True)
    monkeypatch.setattr(notify, "_connection_parameters", lambda: {"conninfo": url})

    async def scenario() -> None:
        heard = asyncio.Event()
        listening = asyncio.ensure_future(notify.listen(heard.set, lambda *_: None))
        async with asyncio.timeout(30):
            await heard.wait()
            heard.clear()
            link.forget()
            await heard.wait()  # said at the start of each new connection
            while link.forgotten:
                await asyncio.sleep(0.01)
        listening.cancel()

    asyncio.run(scenario())


# ---- decisions, without a database ----


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_silence_ends_a_wait_and_not_an_answer_that_is_long():
    clock = Clock()

    def steps() -> Any:
        came = []
        while (ready := (yield "read")) != "end":
            came.append(ready)
        return came

    wait = until(steps(), 10.0, clock)
    assert next(wait) == "read"
    clock.now = 11.0
    assert wait.send(1) == "read"  # there is something
    with pytest.raises(Silence):
        wait.send(0)
    clock.now = 9.9
    wait = until(steps(), 10.0, clock)
    next(wait)
    assert wait.send(0) == "read"
    with pytest.raises(StopIteration) as done:
        wait.send("end")
    assert done.value.value == [0]


def test_patience_is_used_up_by_waiting_for_connections_and_by_time():
    clock = Clock()
    patience = Patience(2.0, 10.0, clock)
    with patience.waiting():
        clock.now = 1.5
    assert patience.connection_s == 0.5
    assert patience.left_s == 8.5
    clock.now = 9.8
    assert patience.connection_s == pytest.approx(0.2)
