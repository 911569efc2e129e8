"""Processes for the length of a run: pinned to their core, ended whatever happens, installed when they are missing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "var" / "bench"  # what is installed and what was measured
SUT_CORE, LOAD_CORE = 0, 1  # the system under test has one for itself; generator, mock and all else share the other
PREFERRED = -10  # niceness of what is measured and of what measures
STOP_S = 15.0
PROBE_S = 0.002
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Unavailable(Exception):
    """This cannot be measured here; the reason is printed."""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def prefer(pid: int, niceness: int = PREFERRED) -> None:
    """Ahead of the machine's other work, or behind it, where we may. `pid` leads a session of its own.

    Linux weighs sessions against each other first (autogroups), then the processes within one.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, pid, niceness)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def at_once(pid: int) -> None:
    """Runs the moment it is woken, where we may: the load and the mock are not to wait for the control plane, which
    has their core between and is left a scheduler's slice of 3 to 5 ms by any niceness."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))


def end_with_parent() -> None:
    """Between fork and exec: a run that is killed leaves nothing behind."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def tidy_when_told_to_end() -> None:
    """SIGTERM ends a run like an exception, so that everything it started ends too."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


@contextlib.contextmanager
def process(
    command: Sequence[str],
    *,
    cores: Iterable[int],
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path = ROOT,
) -> Iterator[subprocess.Popen[bytes]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, cores)), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environment,
            cwd=directory,
            preexec_fn=end_with_parent,
        )
    prefer(child.pid)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _status(port: int, path: str, tls: bool = False) -> int:
    """Of one GET; 0 while nothing answers."""
    try:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=2.0))
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                connection = stack.enter_context(context.wrap_socket(connection))
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n".encode())
            answer = connection.recv(4096)
            return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0
    except (OSError, ValueError, IndexError):
        return 0


def await_answer(
    child: subprocess.Popen[bytes],
    port: int,
    path: str,
    log: Path,
    *,
    limit_s: float = 60.0,
    ready: bool = False,
    tls: bool = False,
) -> float:
    """Seconds until something answers (`ready`: with 200). Raises Unavailable."""
    started = time.monotonic()
    while time.monotonic() - started < limit_s and child.poll() is None:
        status = _status(port, path, tls)
        if status == 200 or (status and not ready):
            return time.monotonic() - started
        time.sleep(PROBE_S)
    tail = log.read_text(errors="replace")[-800:]
    raise Unavailable(f"nothing answered on port {port} within {limit_s:g} s; the end of its log: {tail}")


def apt(name: str, package: str) -> str:
    """The path of a command, installed with apt where this machine lets us."""

    def found() -> str | None:
        return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")

    if found() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing {package} with apt-get")
        for words in (["update"], ["install", "-y", "--no-install-recommends", package]):
            subprocess.run(["apt-get", "-q", *words], capture_output=True, check=False)
    path = found()
    if path is None:
        raise Unavailable(f"{name} is not installed (Debian package {package})")
    return path


def in_venv(name: str, package: str, size: str) -> Path:
    """Where the programs of a virtual environment with that package are; made when it is missing. Raises
    Unavailable."""
    venv = BENCH / name
    ready = venv / ".installed"
    if not ready.exists():
        say(f"installing {package} (once, about {size})")
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        install = [str(venv / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", package]
        if subprocess.run(install, check=False).returncode:
            raise Unavailable(f"{package} could not be installed")
        ready.touch()
    return venv / "bin"
