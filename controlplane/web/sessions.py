"""Django's sessions in the database, but that a busy database is not taken for a session that somebody deleted."""

from __future__ import annotations

from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import UpdateError

from controlplane.rest.busy import busy


class SessionStore(db.SessionStore):
    def save(self, must_create: bool = False) -> None:
        try:
            super().save(must_create)
        except UpdateError as gone:
            why = gone.__context__
            if why is not None and busy(why):
                raise why from why.__cause__
            raise
