"""The Celery application: the database is the queue, Celery only hurries it.

Whatever a task does, a scheduled sweep finds too.
Each app's `tasks.py` may hold `SCHEDULE`, a mapping of name to Celery beat entry; they are collected here.
"""

from __future__ import annotations

import logging
import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from celery import Celery
from celery.signals import worker_init
from django.apps import apps
from kombu.exceptions import OperationalError

from controlplane.environment import ConfigurationError, environment

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

log = logging.getLogger(__name__)
app = Celery("controlplane")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def wake(task: str, *arguments: str) -> bool:
    """Ask a worker to do a task, by its name, now. Returns whether the broker took it.

    A broker that is away is no error: the sweep finds the work.
    """
    try:
        app.send_task(task, args=arguments)
    except OperationalError:
        log.warning("task_not_queued task=%s", task)
        return False
    return True


@app.on_after_finalize.connect
def _schedule(sender: Celery, **_: object) -> None:
    """Every installed app of ours says what beat should start."""
    entries: dict[str, Any] = {}
    for config in apps.get_app_configs():
        if config.name.startswith("controlplane.") and find_spec(f"{config.name}.tasks"):
            entries.update(getattr(import_module(f"{config.name}.tasks"), "SCHEDULE", {}))
    sender.conf.beat_schedule = entries


@worker_init.connect
def _refuse_without_secrets(**_: object) -> None:
    """SystemExit, since Celery only logs what else a receiver raises. (Beat needs no secret: it only rings.)"""
    try:
        environment().demand_secrets()
    except ConfigurationError as error:
        raise SystemExit(str(error)) from None
    for problem in environment().unknown_variables():
        log.warning("unknown_variable %s", problem)
