"""Background work on the audit and the outbox."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from celery import shared_task

from controlplane.changes import audit, outbox

SCHEDULE: dict[str, dict[str, Any]] = {
    "changes: verify the audit": {"task": "changes.verify_audit", "schedule": timedelta(days=1)},
    "changes: forget what is superseded": {"task": "changes.forget_superseded", "schedule": timedelta(days=1)},
}
logger = logging.getLogger(__name__)


@shared_task(name="changes.verify_audit")
def verify_audit() -> int:
    """Walk every chain; each broken one is an error in the log. How many are."""
    broken = [problem for head in audit.heads() if (problem := audit.verify(head.organization_id)) is not None]
    for problem in broken:
        logger.error(
            "audit_chain_broken organization=%s event=%d problem=%s",
            problem.organization_id or "installation",
            problem.seq,
            problem.problem,
        )
    return len(broken)


@shared_task(name="changes.forget_superseded")
def forget_superseded() -> int:
    return outbox.forget_superseded()
