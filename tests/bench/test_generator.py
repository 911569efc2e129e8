"""The generator in C and its twin in Python ask, answer and count alike."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.bench import answers, asks, generator
from tests.bench.generator import Generator, Mock
from tests.bench.processes import Unavailable

CREDENTIALS = {"authorization": "Bearer k"}


def _twins() -> list[Generator]:
    with contextlib.suppress(Unavailable):
        return [generator.compiled(), generator.in_python()]
    return [generator.in_python()]


@pytest.fixture(scope="module", params=_twins(), ids=lambda twin: f"mock in {twin.name}")
def mock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    with request.param.mock(tmp_path_factory.mktemp("mock")) as running:
        yield running


@pytest.fixture(params=_twins(), ids=lambda twin: f"load in {twin.name}")
def made(request: pytest.FixtureRequest) -> Generator:
    twin: Generator = request.param
    return twin


def raw_answer(port: int, request: bytes, end: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        while not answer.endswith(end):
            answer += connection.recv(65536)
        return answer


def test_a_whole_answer_is_the_one_that_was_written_for_its_dialect(mock: Mock) -> None:
    for path, name in ((asks.MESSAGES, "messages"), (asks.COUNT_TOKENS, "count_tokens"), (asks.CHAT, "chat")):
        body = answers.DIALECTS[name]()["whole"]
        heard = raw_answer(mock.port, asks.request(path, CREDENTIALS, b"{}"), body)
        assert heard == answers.JSON_HEAD.format(length=len(body)).encode() + body


def test_a_burst_is_opening_deltas_and_closing_in_order(mock: Mock) -> None:
    parts = answers.chat()
    heard = raw_answer(mock.port, asks.chat(CREDENTIALS, 500, asks.wish(40), stream=True), answers.LAST_CHUNK)
    events = [event + b"\n\n" for event in parts["delta"].split(b"\n\n")[:-1]]
    burst = answers.chunk(b"".join(islice(cycle(events), 20)))
    rest = answers.chunk(parts["closing"]) + answers.LAST_CHUNK
    assert heard == answers.STREAM_HEAD + answers.chunk(parts["opening"]) + burst * 2 + rest


def test_a_wish_is_found_however_the_body_is_cut(mock: Mock) -> None:
    request = asks.chat(CREDENTIALS, 900, asks.wish(20), stream=True)
    at = request.index(b"~bench") + 4
    with socket.create_connection(("127.0.0.1", mock.port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (request[:at], request[at : at + 1], request[at + 1 : at + 9]):
            connection.sendall(piece)
            connection.settimeout(0.02)
            with pytest.raises(TimeoutError):  # nothing is answered before the request is whole
                connection.recv(1)
        connection.sendall(request[at + 9 :])
        connection.settimeout(60)
        assert b"text/event-stream" in connection.recv(100)


def test_every_connection_asks_as_often_as_it_should_and_all_is_counted(made: Generator, mock: Mock) -> None:
    request = asks.chat(CREDENTIALS, 2_000, asks.wish(10, 2), stream=True)
    load = made.load(mock.port, [request], connections=7, each=3, seconds=5)
    parts = answers.chat()
    fixed = parts["opening"].count(b"\n\n") + parts["closing"].count(b"\n\n")
    deltas = 10 * (len(parts["delta"]) // len(answers.WORDS))
    assert (load.done, load.failed, load.status) == (21, 0, {"200": 21})
    assert load.events == 21 * (10 + fixed)
    assert load.bytes == 21 * (len(parts["opening"]) + deltas + len(parts["closing"]))
    assert load.travelled.total() == 21 * 10
    assert load.whole.total() == load.first.total() == 21


def test_an_open_loop_asks_at_its_rate_whatever_is_answered(made: Generator, mock: Mock) -> None:
    slow = asks.chat(CREDENTIALS, 500, asks.wish(0, 0, 300), stream=False)
    load = made.load(mock.port, [slow], connections=50, rate=40, seconds=0.5)
    assert (load.done, load.failed, load.late) == (20, 0, 0)
    assert min(load.whole) >= 250_000  # less than what the wish says: timers fire early, by a millisecond and more


def test_what_finds_no_connection_free_waits_from_when_it_was_due(made: Generator, mock: Mock) -> None:
    slow = asks.chat(CREDENTIALS, 500, asks.wish(0, 0, 100), stream=False)
    load = made.load(mock.port, [slow], connections=1, rate=20, seconds=0.2)
    assert (load.done, load.failed) == (4, 0)
    assert load.late == 3
    assert max(load.whole) >= 200_000


def test_connections_take_turns_where_they_should(made: Generator) -> None:
    request = asks.chat(CREDENTIALS, 500, asks.wish(), stream=False)
    # A tenth of a second apart: an answer later than that takes another connection for the next request.
    for options, used in (({}, 1), ({"rotate": 1}, 5)):
        with _counting() as (port, clients):
            assert made.load(port, [request], connections=5, rate=10, seconds=1, **options).done == 10
        assert len(clients) == used


def test_an_answer_without_its_end_is_wrong(made: Generator, mock: Mock, tmp_path: Path) -> None:
    for name, parts in ((name, make()) for name, make in answers.DIALECTS.items()):
        assert answers.END.encode() in parts["whole"], name
    with _server(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") as port:
        load = made.load(port, [asks.chat(CREDENTIALS, 100, asks.wish(), stream=False)], each=1, seconds=1)
    assert (load.done, load.wrong) == (0, 1)


def test_a_cut_answer_is_broken(made: Generator) -> None:
    with _server(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{}") as port:
        load = made.load(port, [asks.chat(CREDENTIALS, 100, asks.wish(), stream=False)], each=1, seconds=1)
    assert (load.done, load.broken) == (0, 1)


@contextlib.contextmanager
def _server(answer: bytes) -> Iterator[int]:
    """Answers one connection with these bytes and closes it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join()
        listener.close()


@contextlib.contextmanager
def _counting() -> Iterator[tuple[int, set[int]]]:
    """Answers whatever comes; the ports from which it came."""
    clients: set[int] = set()

    class Answering(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            clients.add(self.client_address[1])
            while self.request.recv(65536):
                self.request.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n" + answers.END.encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], clients
        server.shutdown()
        thread.join()


def test_the_coding_mix_has_the_sizes_of_real_turns() -> None:
    sizes = sorted(len(request) for request in asks.coding_mix(CREDENTIALS))
    assert len(sizes) == 20
    assert 4_000 < sizes[0] < 6_000
    assert 85_000 < sizes[-1] < 90_000


def test_percentiles_are_of_all_that_was_counted() -> None:
    histogram: generator.Histogram = Counter({10: 98, 20: 1, 5_000: 1})
    assert generator.percentile(histogram, 0.5) == 10
    assert generator.percentile(histogram, 0.99) == 20
    assert generator.percentile(histogram, 0.999) == 5_000
