"""deploy/README.md on backup and restore, as an operator does it on SQLite: what has to be kept, and what it is for."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.secrets import ensure

pytestmark = [pytest.mark.processes, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
VACUUM = "VACUUM INTO 'copy.sqlite3'"
WANTED: dict[str, Any] = {
    "admin": {"username": "ada", "email": "ada@example.com", "password": "a-long-password-of-ada"},
    "organization": "Acme",
    "team": "Core",
    "project": "Demo",
    "principal": {"name": "Grace", "email": "grace@example.com"},
    "providers": [
        {
            "name": "anthropic",
            "kind": "anthropic",
            "base_url": "https://api.anthropic.com",
            "credential": "sk-ant-canary",
        }
    ],
    "virtual_key": {"name": "cli", "known": ""},
    "api_token": {"name": "program", "known": ""},
}
ASK = """
from django.test import Client
answer = Client().get("/api/v1/providers", headers={{"authorization": "Bearer {token}", "host": "127.0.0.1"}})
print("answer:", answer.status_code, [row["name"] for row in answer.json().get("data", ())])
"""


class Installation:
    """A control plane of one directory: `secrets` are kept apart from its database."""

    def __init__(self, var: Path, secrets: dict[str, str]) -> None:
        self.var = var
        self.environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.environment |= {"AIGATEWAY_VAR_DIR": str(var), "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
        self.environment |= {name: value for name, value in secrets.items() if name.startswith("AIGATEWAY_")}

    @property
    def database(self) -> Path:
        return self.var / "aigateway.sqlite3"

    def manage(self, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            input=said,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def migrate(self) -> None:
        done = self.manage("migrate", "-v0")
        assert done.returncode == 0, done.stderr

    def bootstrap(self) -> str:
        """The new API token."""
        done = self.manage("bootstrap", said=json.dumps(WANTED))
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["api_token"])

    def asked(self, token: str) -> str:
        """What the REST API answers to the token."""
        done = self.manage("shell", "-c", ASK.format(token=token))
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("answer: ")[2].strip()


def restored(var: Path, backup: Path, secrets: dict[str, str]) -> Installation:
    var.mkdir()
    there = Installation(var, secrets)
    there.database.write_bytes(backup.read_bytes())
    return there


def test_a_backup_of_the_running_database_comes_back_with_its_keys_and_not_without(tmp_path: Path) -> None:
    secrets, others = ensure(tmp_path / "secrets.json"), ensure(tmp_path / "others.json")
    first = Installation(tmp_path / "first", secrets)
    first.migrate()
    token = first.bootstrap()
    assert first.asked(token) == "200 ['anthropic']"

    backup = tmp_path / "copy.sqlite3"
    assert VACUUM in (ROOT / "deploy" / "README.md").read_text()
    with sqlite3.connect(first.database, isolation_level=None) as running:
        running.execute(VACUUM.replace("copy.sqlite3", str(backup)))

    second = restored(tmp_path / "second", backup, secrets)
    second.migrate()
    assert second.asked(token) == "200 ['anthropic']"

    stranger = restored(tmp_path / "third", backup, secrets | {"AIGATEWAY_ROOT_KEYS": others["AIGATEWAY_ROOT_KEYS"]})
    stopped = stranger.manage("migrate", "-v0")
    assert stopped.returncode != 0
    assert "root key" in stopped.stderr.lower()
    assert "sk-ant-canary" not in stopped.stderr + stopped.stdout

    unpeppered = restored(tmp_path / "fourth", backup, secrets | {"AIGATEWAY_PEPPERS": others["AIGATEWAY_PEPPERS"]})
    unpeppered.migrate()
    assert unpeppered.asked(token) == "401 []"
