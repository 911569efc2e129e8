"""Processes that live and die together: start, watch, restart what fell over, end everything on a signal."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RESTART_PAUSE_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # a process that keeps falling over is not restarted in a tight loop
STEADY_S = 30.0  # after this long the pauses start over
LOG_LIMIT = 20 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Runs in the child between fork and exec: the kernel ends it when the supervisor goes, even by SIGKILL."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    """One process of the product. `stop_s` is how long it may take to end by itself after SIGTERM."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stop_s: float = 10.0
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    not_before: float = field(default=0.0)

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which ends the children in order
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, nothing that takes a lock
            )
        finally:
            os.close(descriptor)
        self.started_at = time.monotonic()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                return

    def log_tail(self, lines: int = 25) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


class Supervisor:
    """Children in the order of their start; they end in the opposite order."""

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self.children: list[Child] = []
        self.stopping = threading.Event()
        self._say = say
        self._changed = changed

    def add(self, child: Child) -> Child:
        child.start()
        self.children.append(child)
        return child

    def watch(self) -> None:
        """Until told to stop: restart what ended by itself."""
        while not self.stopping.wait(0.1):
            for child in self.children:
                if not child.alive:
                    self._revive(child)

    def _revive(self, child: Child) -> None:
        now = time.monotonic()
        if child.not_before == 0.0:
            status = child.process.returncode if child.process else None
            child.failures = 0 if now - child.started_at > STEADY_S else child.failures
            pause = RESTART_PAUSE_S[min(child.failures, len(RESTART_PAUSE_S) - 1)]
            child.failures += 1
            child.not_before = now + pause
            self._say(f"{child.name} ended with status {status}; starting it again in {pause:g} s (log: {child.log})")
        if now >= child.not_before:
            child.not_before = 0.0
            child.start()
            self._changed()

    def end(self) -> None:
        """SIGTERM in reverse order of start, each with its own grace, then SIGKILL."""
        self.stopping.set()
        for child in reversed(self.children):
            child.signal(signal.SIGTERM)
            deadline = time.monotonic() + child.stop_s
            while child.alive and time.monotonic() < deadline:
                time.sleep(0.02)
            if child.alive:
                self._say(f"{child.name} did not end within {child.stop_s:g} s and was killed")
            child.signal(signal.SIGKILL)
            if child.process is not None:
                child.process.wait()
