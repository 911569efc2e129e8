"""Log lines: one JSON object each, one event name each, written in batches by a thread of their own.

`logs.info("gateway_listening", address=…)` costs an append; encoding, redaction and write(2) happen in the writer
thread, because a full pipe must never stop the loop. JSON escapes control characters, so that no value can start a line
(CVE-2020-7694). When the reader of our output is too slow, lines are dropped and the next line says how many.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

import msgspec

from dataplane.core.errors import Code
from dataplane.telemetry.redaction import redact


class Level(IntEnum):
    DEBUG = logging.DEBUG
    INFO = logging.INFO
    WARNING = logging.WARNING
    ERROR = logging.ERROR


BATCH_S: Final = 0.05  # a line is at most this late; one write(2) serves all lines of the time
QUEUE_LINES: Final = 20_000  # about 10 MB; a second of the busiest pod
FIELD_CHARACTERS: Final = 4_096

# Values under these names are never written, whatever they look like.
_SECRET_NAMES: Final = frozenset({"authorization", "token", "secret", "password", "credential", "api_key", "cookie"})

_PLAIN: Final = frozenset({str, int, bool, float, Code})  # encoded as they are
_NAMES: Final = {level: level.name.lower() for level in Level}


def _other(value: object) -> object:
    """Values that JSON does not know: their text (a Secret's text is no secret)."""
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def _bounded(value: Any) -> Any:
    if isinstance(value, (BaseException, bytes)):
        value = _other(value)
    if isinstance(value, str):
        if len(value) > FIELD_CHARACTERS:
            value = value[:FIELD_CHARACTERS] + "…"
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    return value


_encode = msgspec.json.Encoder(enc_hook=_other).encode


def stamp_of(at_ns: int) -> str:
    """A line's time: RFC 3339, in milliseconds."""
    seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
    return f"{_stamp(seconds)}.{nanoseconds // 1_000_000:03d}Z"


@lru_cache(maxsize=4)
def _stamp(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def encode_line(at_ns: int, level: Level, event: str, fields: Mapping[str, Any]) -> bytes:
    """One line, redacted, with its line feed."""
    stamp = stamp_of(at_ns)
    line: dict[str, Any] = {"time": stamp, "level": _NAMES[level], "event": event, **fields}
    if _PLAIN.issuperset(map(type, fields.values())):
        try:
            encoded = _encode(line)
        except ValueError:
            encoded = b""  # half a surrogate pair
        if 0 < len(encoded) <= FIELD_CHARACTERS and _SECRET_NAMES.isdisjoint(fields):
            return redact(encoded) + b"\n"  # the usual line, in which no field can be too long
    line |= {name: _bounded(value) for name, value in fields.items()}
    if not _SECRET_NAMES.isdisjoint(fields):
        line |= dict.fromkeys(_SECRET_NAMES & fields.keys(), "[redacted]")
    try:
        encoded = _encode(line)
    except Exception as error:  # noqa: BLE001  a line that cannot be encoded is still an event
        encoded = _encode({"time": stamp, "level": _NAMES[level], "event": event, "unencodable": type(error).__name__})
    return redact(encoded) + b"\n"


class Writer:
    """The queue and the thread that empties it into a file descriptor."""

    def __init__(self, fd: int) -> None:
        self.level: Level = Level.INFO
        self.dropped = 0
        self._fd = fd
        self._queue: deque[tuple[int, Level, str, Mapping[str, Any]] | bytes] = deque()  # bytes: made already
        self._wake = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None

    def emit(self, level: Level, event: str, fields: Mapping[str, Any]) -> None:
        if level >= self.level:
            self._put((time.time_ns(), level, event, fields))

    def write(self, line: bytes) -> None:
        """A line as it shall be, among the others in the order of asking."""
        self._put(line)

    def _put(self, line: tuple[int, Level, str, Mapping[str, Any]] | bytes) -> None:
        if len(self._queue) >= QUEUE_LINES:
            self.dropped += 1
            return
        self._queue.append(line)
        if not self._wake.is_set():
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
                self._thread.start()
            self._wake.set()

    def redirect(self, fd: int) -> None:
        """Write to `fd` from now on; what was said before goes where it was meant to go."""
        self.flush()
        self._fd = fd

    def flush(self) -> None:
        """Everything emitted so far is written when this returns."""
        with self._writing:
            dropped, self.dropped = self.dropped, 0
            taken = [self._queue.popleft() for _ in range(len(self._queue))]
            lines = [line if type(line) is bytes else encode_line(*line) for line in taken]
            if dropped:
                lines.append(encode_line(time.time_ns(), Level.WARNING, "log_lines_dropped", {"count": dropped}))
            data = memoryview(b"".join(lines))
            while data:
                try:
                    data = data[os.write(self._fd, data) :]
                except BlockingIOError:
                    time.sleep(BATCH_S)
                except OSError:
                    return  # nobody reads us any more, and there is no other place to say so

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(BATCH_S)
            self._wake.clear()
            self.flush()


_writer: Final = Writer(fd=1)
atexit.register(_writer.flush)


class _Bridge(logging.Handler):
    """Lines of libraries (grpc, httpx, asyncio), in our shape."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info is not None and record.exc_info[1] is not None:
            fields["error"] = record.exc_info[1]
        level = max((one for one in Level if one <= record.levelno), default=Level.DEBUG)
        _writer.emit(level, "library", fields)


def configure(level: str, fd: int = 1) -> None:
    """Once per process. `level` is debug, info, warning or error; it also holds for libraries."""
    _writer.redirect(fd)
    _writer.level = Level[level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(max(_writer.level, logging.WARNING) if _writer.level > Level.DEBUG else logging.DEBUG)


def debug(event: str, **fields: Any) -> None:
    _writer.emit(Level.DEBUG, event, fields)


def info(event: str, **fields: Any) -> None:
    _writer.emit(Level.INFO, event, fields)


def warning(event: str, **fields: Any) -> None:
    _writer.emit(Level.WARNING, event, fields)


def error(event: str, **fields: Any) -> None:
    """Also for failures that nobody awaits: pass the exception as `error=`."""
    _writer.emit(Level.ERROR, event, fields)


def write(line: bytes) -> None:
    """A line of level info that somebody else has encoded and redacted (`access.line`)."""
    _writer.write(line)


def flush() -> None:
    """Before the process ends, and in tests."""
    _writer.flush()


def wants(level: Level) -> bool:
    """Whether a line of this level would be written: ask before making an expensive one."""
    return level >= _writer.level
