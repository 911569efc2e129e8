"""The control plane: what the organisation decided. Owns the database; pods learn from it over the fleet's wire.

Apps, bottom up: changes → tenancy → providers → keys → fleet → usage → console. One rule: a configuration row is
written inside `changes.change_set()` or not at all.
"""

from controlplane.celery import app as celery_app

__all__ = ["celery_app"]
