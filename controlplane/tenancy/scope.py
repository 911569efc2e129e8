"""The place of a row in the tenancy tree: one declaration per model, read by checks of objects and filters of rows."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import models


@dataclass(frozen=True, slots=True)
class Place:
    """The node that a permission is asked for. Empty text: no such node above the row."""

    organization_id: str
    team_id: str = ""
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """Paths (Django's double underscores) from a row to its organization's, its team's and its person's user id."""

    organization: str
    team: str = ""
    user: str = ""

    def place(self, row: models.Model) -> Place:
        return Place(_follow(row, self.organization), _follow(row, self.team), _follow(row, self.user))


def _follow(row: models.Model, path: str) -> str:
    value: object = row
    for step in path.split("__") if path else ():
        value = getattr(value, step) if value is not None else None
    return "" if value is None or value is row else str(value)
