"""Background work on budgets: thin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import shared_task

from controlplane.budgets import actions, earlier, lease_sessions
from controlplane.changes.actor import Actor

SCHEDULE: dict[str, dict[str, Any]] = {
    "budgets: check that the books add up": {"task": "budgets.check", "schedule": timedelta(minutes=1)},
    "budgets: add up what was spent before they counted": {
        "task": "budgets.count_earlier",
        "schedule": timedelta(seconds=10),
    },
    "budgets: forget answers and ended sessions": {"task": "budgets.forget_replies", "schedule": timedelta(minutes=5)},
    "budgets: follow renamed scopes": {"task": "budgets.follow_renamed_scopes", "schedule": timedelta(minutes=5)},
}


@shared_task(name="budgets.check")
def check() -> int:
    """Each account that does not add up is an error in the log. Returns how many do not."""
    return lease_sessions.check()


@shared_task(name="budgets.count_earlier")
def count_earlier() -> int:
    return earlier.count_due()


@shared_task(name="budgets.forget_replies")
def forget_replies() -> int:
    return lease_sessions.forget_replies()


@shared_task(name="budgets.follow_renamed_scopes")
def follow_renamed_scopes() -> int:
    return actions.follow_renamed_scopes(by=Actor.system("budgets.follow_renamed_scopes"))
