"""Runs one CLI once: empty home, empty environment, no way out of the machine, and nothing left running afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from tests.clients import cage
from tests.clients.cli import PROXIES, Case, Cli
from tests.clients.install import Installed

MARK = "AIGATEWAY_CLIENT_RUN"


@dataclass(frozen=True, slots=True)
class Finished:
    """One run. `exit_code` is None when it had to be ended."""

    exit_code: int | None
    stdout: str
    stderr: str
    seconds: float
    work: Path

    @property
    def said(self) -> str:
        """Both streams, white space folded: terminals wrap lines."""
        return " ".join(f"{self.stdout}\n{self.stderr}".split())

    def file(self, name: str) -> str:
        path = self.work / name
        return path.read_text() if path.exists() else ""


def run(
    cli: Cli,
    case: Case,
    installed: Installed,
    *,
    base_url: str,
    key: str,
    prompt: str,
    folder: Path,
    timeout: float = 120,
) -> Finished:
    """`folder` gets a home and a work directory; the prompt may name `{work}`."""
    home, work = folder / "home", folder / "work"
    for path in (home, work):
        path.mkdir(parents=True, exist_ok=True)
    given = cli.hand_out(base_url, key, case)
    for name, text in given.files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    environment = {**_bare(home), **cli.quiet, **given.variables}
    program = installed.program(cli.program)
    for sign_in in cli.before(program, given) if cli.before else []:
        _once(sign_in, environment, work, base_url, timeout)
    command = cli.command(program, prompt.replace("{work}", str(work)), case, given)
    return _once(command, environment, work, base_url, timeout)


def _bare(home: Path) -> dict[str, str]:
    node = shutil.which("node")
    places = [str(Path(node).parent)] if node else []
    return {
        "HOME": str(home),
        "PATH": ":".join([*places, "/usr/local/bin", "/usr/bin", "/bin"]),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "CI": "true",
        **({} if cage.available() else PROXIES),
    }


def _once(
    command: Sequence[str], environment: Mapping[str, str], work: Path, base_url: str, timeout: float
) -> Finished:
    mark = uuid.uuid4().hex
    started = time.monotonic()
    with ExitStack() as stack:
        # Files, as a terminal is: what a program has left in a pipe when it ends may be lost.
        out, err = stack.enter_context(TemporaryFile()), stack.enter_context(TemporaryFile())
        options: dict[str, Any] = {
            "cwd": work,
            "env": {**environment, MARK: mark},
            "stdin": subprocess.DEVNULL,
            "stdout": out,
            "stderr": err,
            "start_new_session": True,
        }
        start = stack.enter_context(cage.Cage(base_url)).popen if cage.available() else subprocess.Popen
        code = _watched(start(command, **options), mark, timeout)
        seconds = round(time.monotonic() - started, 1)
        return Finished(code, _text(out), _text(err), seconds, work)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _watched(process: subprocess.Popen[bytes], mark: str, timeout: float) -> int | None:
    """Its exit code; None when it had to be ended."""
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end_group(process.pid)
        _end_marked(mark)
        process.wait()


def _end_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _end_marked(mark: str) -> None:
    """Daemons that left the process group still carry our mark in their environment; returns when they are gone."""
    for _ in range(200):
        left = _marked(f"{MARK}={mark}".encode())
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _marked(wanted: bytes) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found
