"""Log lines: levels, bounds, hostile values, batches, the bridge for libraries, failed tasks."""

import asyncio
import json
import logging
import os

import pytest

from dataplane.telemetry import logs
from dataplane.telemetry.logs import FIELD_CHARACTERS, QUEUE_LINES, Level, Writer
from dataplane.telemetry.tasks import spawn


@pytest.fixture
def lines(tmp_path):
    """Logging as a pod has it, into a file; calling it gives what was written so far."""
    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    logs.configure("info", fd)

    def read() -> list[dict]:
        logs.flush()
        return [json.loads(line) for line in path.read_text().splitlines()]

    yield read
    logs.configure("info", 1)
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    os.close(fd)


def test_a_line_is_an_event_with_its_fields(lines):
    logs.info("gateway_listening", address="127.0.0.1:5563", pods=3)
    logs.debug("too_quiet")
    [line] = lines()
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "event": "gateway_listening", "address": "127.0.0.1:5563", "pods": 3}


def test_lines_that_others_made_stand_where_they_were_asked_for(lines):
    logs.info("before")
    logs.write(b'{"event":"made"}\n')
    logs.info("after")
    assert [line["event"] for line in lines()] == ["before", "made", "after"]


def test_a_value_cannot_begin_a_line_or_paint_the_terminal(lines):
    logs.warning("odd", path='/\r\n{"event":"forged"}\x1b[31m\x00', surrogate="\ud800", raw=b"\xff\n")
    [line] = lines()
    assert line["event"] == "odd"
    assert line["path"].startswith("/\r\n")


def test_a_long_value_is_cut(lines):
    logs.info("long", text="x" * 10 * FIELD_CHARACTERS)
    assert len(lines()[0]["text"]) == FIELD_CHARACTERS + 1


def test_lines_of_libraries_come_in_our_shape_and_redacted(lines):
    logging.getLogger("httpx").warning("sent authorization: Bearer %s", "opaque-credential")
    try:
        raise ValueError("sk-ant-abcdefghijklmnop")
    except ValueError:
        logging.getLogger("grpc").exception("broke")
    first, second = lines()
    assert (first["event"], first["logger"]) == ("library", "httpx")
    assert second["error"] == "ValueError: [redacted]"
    assert "opaque-credential" not in json.dumps([first, second])


def test_lines_beyond_the_bound_are_dropped_and_counted(tmp_path):
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    writer = Writer(fd)
    writer._wake.set()  # the writer thread is busy elsewhere
    for _ in range(QUEUE_LINES + 7):
        writer.emit(Level.INFO, "line", {})
    writer.flush()
    written = (tmp_path / "log").read_text().splitlines()
    assert len(written) == QUEUE_LINES + 1
    assert json.loads(written[-1])["count"] == 7
    os.close(fd)


def test_the_writer_thread_writes_without_being_asked(tmp_path):
    reading, writing = os.pipe()
    writer = Writer(writing)
    writer.emit(Level.INFO, "by_itself", {})
    assert b"by_itself" in os.read(reading, 4096)
    os.close(reading)
    os.close(writing)


def test_a_background_task_that_fails_says_so_and_a_cancelled_one_does_not(lines):
    async def fail():
        raise RuntimeError("on its own")

    async def main():
        failing, cancelled = spawn(fail(), "doomed"), spawn(asyncio.sleep(60), "sleeper")
        cancelled.cancel()
        await asyncio.wait([failing, cancelled])

    asyncio.run(main())
    [line] = lines()
    assert (line["event"], line["task"], line["error"]) == ("task_failed", "doomed", "RuntimeError: on its own")
