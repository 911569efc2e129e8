"""The way out to addresses that tenants chose: nobody there holds a thread, nobody's answer fills memory."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from controlplane import environment as env
from controlplane.providers import gate, ssrf


@pytest.fixture(autouse=True)
def private_allowed(monkeypatch) -> Iterator[None]:
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_PROVIDERS", "true")
    env.environment.cache_clear()
    yield
    monkeypatch.undo()
    env.environment.cache_clear()


@contextmanager
def answering(how: Callable[[socket.socket, threading.Event], None]) -> Iterator[ssrf.BaseUrl]:
    over = threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            with suppress(OSError):
                how(connection, over)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield ssrf.parse(f"http://127.0.0.1:{server.getsockname()[1]}", private_allowed=True)
        finally:
            over.set()
            thread.join()


def in_headers(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.wait(0.02):
        connection.sendall(b"x-more: to come\r\n")


def in_the_body(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while not over.wait(0.02):
        connection.sendall(b".")


def test_who_dribbles_headers_is_left_after_the_deadline(monkeypatch):
    monkeypatch.setattr(gate, "DEADLINE_S", 0.3)
    with answering(in_headers) as url, pytest.raises(gate.Unreachable, match="ReadError"):
        gate.call("GET", url, headers={})


def test_who_dribbles_a_body_is_left_after_the_deadline(monkeypatch):
    monkeypatch.setattr(gate, "DEADLINE_S", 0.3)
    with answering(in_the_body) as url:
        try:
            read = gate.call("GET", url, headers={}).body
        except gate.Unreachable:
            read = b""
    assert len(read) < 1000


def test_of_a_large_answer_only_its_beginning_is_kept():
    def much(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n")
        while not over.is_set():
            connection.sendall(b"x" * 65536)

    with answering(much) as url:
        assert len(gate.call("GET", url, headers={}).body) == gate.MOST_BYTES


def test_an_address_that_is_not_allowed_is_not_connected_to(monkeypatch):
    monkeypatch.setenv("AIGATEWAY_ALLOW_PRIVATE_PROVIDERS", "false")
    env.environment.cache_clear()
    url = ssrf.BaseUrl("https", "127.0.0.1", 9, "")
    with pytest.raises(ssrf.UnsafeUrl):
        gate.call("GET", url, headers={})
