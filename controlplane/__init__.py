"""The control plane: what the organization decided. Owns the database; pods learn from it over the fleet's wire.

Apps, bottom up: changes → rest → tenancy → providers → keys → budgets → fleet → usage → alerts → console; `web` is the
process around them. One rule: a configuration row is
written inside `changes.change_set()` or not at all.
"""

from controlplane.celery import app as celery_app

__all__ = ["celery_app"]
