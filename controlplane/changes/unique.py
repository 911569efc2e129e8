"""Words for what must be unique: "a virtual key of the organization with this external id already exists".

Found before a write (`ConfigModel.validate_constraints`) or by the write itself (IntegrityError), when somebody else
was quicker: the same ValidationError, at the field that would have to differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.db.models import Model, UniqueConstraint

CODE = "already_exists"
WORDS = "There is such an object already."

_DJANGOS = frozenset({"unique", "unique_together"})  # its codes for models that are not ours, such as logins
_PLACES = frozenset({"organization", "project", "team", "key", "group"})  # where a name has to be unique
# SQLite names columns, PostgreSQL the constraint.
_COLUMNS = re.compile(r"UNIQUE constraint failed: (\w+\.\w+(?:, \w+\.\w+)*)")


def taken(model: type[Model], fields: Sequence[str]) -> ValidationError:
    """One field is what would have to differ; the others say where."""
    field = next((name for name in fields if name not in _PLACES), fields[-1])
    return ValidationError({field: ValidationError(words(model, fields, field), code=CODE)})


def words(model: type[Model], fields: Sequence[str], field: str) -> str:
    what = "login" if field == "user" else str(getattr(model._meta.get_field(field), "verbose_name", field))
    where = "".join(f" of the {name}" for name in fields if name != field and name in _PLACES)
    kind = str(model._meta.verbose_name)
    article = "An" if kind[0].lower() in "aeiou" else "A"
    return f"{article} {kind}{where} with this {what} already exists; choose another {what}."


def only_taken(refused: ValidationError) -> bool:
    """Nothing else is wrong."""
    return all(error.code == CODE or error.code in _DJANGOS for error in _leaves(refused))


def _leaves(refused: ValidationError) -> Iterator[ValidationError]:
    if hasattr(refused, "error_dict"):
        for errors in refused.error_dict.values():
            yield from errors
    else:
        yield from refused.error_list


def taken_by(error: IntegrityError) -> ValidationError | None:
    """None: something else than uniqueness, or nothing that we know."""
    cause = error.__cause__
    name = getattr(getattr(cause, "diag", None), "constraint_name", None)
    match = _COLUMNS.search(str(cause))
    columns = frozenset(match[1].split(", ")) if match else frozenset()
    for model in apps.get_models():
        for constraint, fields in _unique(model):
            if name == constraint or columns == frozenset(_column(model, field) for field in fields):
                return taken(model, fields)
    return None


def _column(model: type[Model], field: str) -> str:
    return f"{model._meta.db_table}.{getattr(model._meta.get_field(field), 'column', '')}"


def _unique(model: type[Model]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name in the database, and fields. PostgreSQL itself names what a unique column makes."""
    for constraint in model._meta.constraints:
        if isinstance(constraint, UniqueConstraint) and constraint.fields:
            yield constraint.name, tuple(constraint.fields)
    for field in model._meta.local_fields:
        if field.unique:
            suffix = "pkey" if field.primary_key else f"{field.column}_key"
            yield f"{model._meta.db_table}_{suffix}", (field.name,)
