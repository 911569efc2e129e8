"""A real web process, as installations run it, on the tests' database or another one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from controlplane.environment import REPOSITORY
from tests.controlplane.fleet.test_process import database_url

LISTENING = re.compile(r"running on http://127\.0\.0\.1:(\d+)")
BEFORE_S = 20.0  # whoever has no answer by then has given up


@contextmanager
def web(tmp_path: Path, *arguments: str, **variables: str) -> Iterator[httpx.Client]:
    """A client of it. Names without prefix, but for DATABASE_URL."""
    given = {name if name == "DATABASE_URL" else f"AIGATEWAY_{name}": value for name, value in variables.items()}
    environment = os.environ | {"DATABASE_URL": database_url(), "AIGATEWAY_VAR_DIR": str(tmp_path)} | given
    command = [sys.executable, "-m", "uvicorn", "controlplane.asgi:application", "--port", "0", "--lifespan", "off"]
    process = subprocess.Popen(
        [*command, *arguments], cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if match := LISTENING.search(line):
                with httpx.Client(base_url=f"http://127.0.0.1:{match[1]}", timeout=BEFORE_S) as client:
                    yield client
                break
        else:
            raise AssertionError(f"it did not start: {said}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=BEFORE_S)
