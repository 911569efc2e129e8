"""The rows that exist for a caller. Routes and references ask here; the app that knows the tenants answers.

`REST_VISIBLE_ROWS` of Django's settings names the function that answers, as `REST_FRAMEWORK` names who authenticates.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from django.conf import settings
from django.db.models import Model, QuerySet
from django.utils.module_loading import import_string

from controlplane.changes.actor import Actor

Row = TypeVar("Row", bound=Model)


class VisibleRows(Protocol):
    """The function that answers. `verb` is a word of its own table, such as `team.view`: opaque here."""

    def __call__(self, actor: Actor, rows: QuerySet[Row], verb: str) -> QuerySet[Row]:
        """Returns those of the rows to which the actor may do `verb`."""


def visible_rows(actor: Actor, rows: QuerySet[Row], verb: str) -> QuerySet[Row]:
    answer: VisibleRows = import_string(settings.REST_VISIBLE_ROWS)
    return answer(actor, rows, verb)
