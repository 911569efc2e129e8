"""The bell: JSON only, a schedule collected from the apps, and no error when nobody hears it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from kombu.exceptions import OperationalError

from controlplane.celery import app, wake
from controlplane.environment import REPOSITORY


def test_only_json_goes_in_and_out():
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == app.conf.result_serializer == "json"
    assert app.conf.task_always_eager is False


def test_every_scheduled_task_exists_and_every_task_of_ours_is_scheduled():
    app.finalize()
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert {"keys.forget_ended_secrets", "providers.compile_price_lists"} <= scheduled
    assert scheduled <= ours


def test_every_name_that_is_woken_is_a_tasks():
    app.finalize()
    app.loader.import_default_modules()
    sources = [path.read_text() for path in (REPOSITORY / "controlplane").rglob("*.py")]
    names = {name for source in sources for name in re.findall(r'\bwake\b\W+"([a-z_.]+)"', source)}
    assert {"alerts.deliver", "alerts.sweep", "providers.compile_price_lists"} <= names
    assert names <= set(app.tasks)


def test_a_broker_that_is_away_is_no_error(monkeypatch, caplog):
    def away(*arguments: object, **options: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(app, "send_task", away)
    assert not wake("keys.forget_ended_secrets")
    assert "task_not_queued task=keys.forget_ended_secrets" in caplog.text


def test_a_worker_does_not_start_without_secrets(tmp_path):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIGATEWAY_")}
    clean |= {"AIGATEWAY_BROKER_URL": "memory://", "DATABASE_URL": f"sqlite:///{tmp_path}/x.sqlite3"}
    run = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "controlplane", "worker"],
        cwd=REPOSITORY,
        env=clean,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode != 0
    assert "AIGATEWAY_ROOT_KEYS" in run.stderr
