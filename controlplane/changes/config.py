"""`ConfigModel`: the base of every configuration row. Each way of writing one passes through the change set.

The guards sit where Django's own paths meet: `_insert` (save, bulk_create, fixtures), `_update` (save), `update` (also
bulk_update and related managers), `_raw_delete` and the two `delete`s, which look first at everything that would
cascade.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, Self, TypeVar

from django.core import checks
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, models, router
from django.db.models.deletion import DO_NOTHING, PROTECT, RESTRICT, Collector
from django.utils import timezone

from controlplane.changes import unique
from controlplane.changes.change_set import ChangeSet, OutsideChangeSet, current
from controlplane.changes.row import AuditTarget, Touch

ROWS_AT_A_TIME = 500  # named in one statement: SQLite takes a bounded number of parameters
Row = TypeVar("Row", bound="ConfigModel")


def demanded(model: type[models.Model]) -> ChangeSet:
    """This thread's change set. Raises OutsideChangeSet."""
    change = current()
    if change is None:
        raise OutsideChangeSet(f"{model._meta.label} is configuration: write it inside change_set(actor)")
    return change


class ConfigQuerySet(models.QuerySet[Row]):
    """Watches the rows that it is about to write."""

    def update(self, **kwargs: Any) -> int:
        if not self._observed(kwargs):
            self._watch_present()
        return super().update(**kwargs)

    update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        change = demanded(self.model)
        rows = self.model._base_manager.using(self.db).filter(pk__in=list(self.values_list("pk", flat=True)))
        collector = Collector(using=self.db, origin=rows)
        collector.collect(rows)
        _watch_collected(change, collector)
        return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[Row], *args: Any, **kwargs: Any) -> list[Row]:
        if kwargs.get("ignore_conflicts") or kwargs.get("update_conflicts") or len(args) > 1:
            raise TypeError(f"{self.model._meta.label}: conflicts would hide which rows were written")
        return super().bulk_create(objs, *args, **kwargs)

    def _insert(self, objs: Sequence[Row], *args: Any, **kwargs: Any) -> Any:
        demanded(self.model).watch(self.model, [(str(row.pk), None) for row in objs])
        return super()._insert(objs, *args, **kwargs)  # type: ignore[misc]

    _insert.alters_data = True  # type: ignore[attr-defined]
    _insert.queryset_only = False  # type: ignore[attr-defined]

    def _update(self, values: Any) -> int:
        if not self._observed([field.name for field, _, _ in values]):
            self._watch_present()
        written: int = super()._update(values)  # type: ignore[misc]
        return written

    _update.alters_data = True  # type: ignore[attr-defined]
    _update.queryset_only = False  # type: ignore[attr-defined]

    def _raw_delete(self, using: str | None) -> int:
        self._watch_present()
        deleted: int = super()._raw_delete(using)
        return deleted

    _raw_delete.alters_data = True  # type: ignore[attr-defined]

    def _observed(self, names: Collection[str]) -> bool:
        return bool(names) and set(names) <= self.model.observed

    def _watch_present(self) -> None:
        change = demanded(self.model)
        primary_keys = list(self.order_by().values_list("pk", flat=True))
        _watch(change, self.model, primary_keys)


def _watch(change: ChangeSet, model: type[ConfigModel], primary_keys: list[Any]) -> None:
    change.watch(model, [(str(key), row) for key, row in model.present(primary_keys).items()])


def _watch_collected(change: ChangeSet, collector: Collector) -> None:
    """Everything that a delete would delete or set to null."""
    updates: Iterable[Any] = collector.field_updates.values()
    nulled: Iterable[models.Model] = chain.from_iterable(chain.from_iterable(updates))
    groups: Iterable[Iterable[models.Model]] = chain(collector.data.values(), collector.fast_deletes, [nulled])
    for row in chain.from_iterable(groups):
        if isinstance(row, ConfigModel):
            _watch(change, type(row), [row.pk])


class ConfigModel(models.Model):
    """A row of the configuration.

    `observed` names fields that record what happened instead of what was decided: they alone may be written outside a
    change set, by `update()` or `save(update_fields=…)`. `unaudited` names fields whose values stay out of the audit.
    `must` says what would be right where a CheckConstraint refuses: its name → field and words.
    """

    observed: ClassVar[frozenset[str]] = frozenset()
    unaudited: ClassVar[frozenset[str]] = frozenset()
    must: ClassVar[Mapping[str, tuple[str, str]]] = {}

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True, editable=False)

    objects: ClassVar[models.Manager[Any]] = models.Manager.from_queryset(ConfigQuerySet)()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Raises ValidationError for what another row has taken meanwhile."""
        try:
            super().save(*args, **kwargs)
        except IntegrityError as error:
            taken = unique.taken_by(error)
            if taken is None:
                raise
            raise taken from error

    def unique_error_message(self, model_class: type[models.Model], unique_check: Sequence[str]) -> ValidationError:
        field = unique_check[-1]
        return ValidationError(unique.words(model_class, unique_check, field), code=unique.CODE)

    def validate_constraints(self, exclude: Collection[str] | None = None) -> None:
        """Django names the constraint; this, the field and what would be right."""
        errors: dict[str, list[ValidationError]] = {}
        for constraint in self._meta.constraints:
            try:
                constraint.validate(type(self), self, exclude=set(exclude or ()))
            except ValidationError as refused:
                self._explained(constraint, refused).update_error_dict(errors)
        if errors:
            raise ValidationError(errors)

    def _explained(self, constraint: models.BaseConstraint, refused: ValidationError) -> ValidationError:
        if isinstance(constraint, models.UniqueConstraint) and constraint.fields:
            return unique.taken(type(self), constraint.fields)
        field, words = self.must.get(constraint.name, (NON_FIELD_ERRORS, ""))
        return ValidationError({field: words}) if words else refused

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        change = demanded(type(self))
        collector = Collector(using=using or router.db_for_write(type(self), instance=self), origin=self)
        collector.collect([self], keep_parents=keep_parents)
        _watch_collected(change, collector)
        return super().delete(using=using, keep_parents=keep_parents)

    @classmethod
    def present(cls, primary_keys: Sequence[Any]) -> Mapping[Any, Self]:
        """Returns those of the rows that the database holds now, by primary key."""
        rows: dict[Any, Self] = {}
        for start in range(0, len(primary_keys), ROWS_AT_A_TIME):
            rows.update(cls._base_manager.in_bulk(primary_keys[start : start + ROWS_AT_A_TIME]))
        return rows

    def touches(self) -> Iterable[Touch]:
        """The pushed resources that this row is part of. None unless a model says so."""
        return ()

    @classmethod
    def consequences(cls, before: Self | None, after: Self | None) -> Iterable[Touch]:
        """The pushed resources that going from one state to the other touches."""
        return chain(before.touches() if before is not None else (), after.touches() if after is not None else ())

    def audit_target(self) -> AuditTarget:
        """The object that a change of this row is a change of."""
        return AuditTarget(self._meta.verbose_name_raw.lower().replace(" ", "_"), str(self.pk), str(self))

    def organization_of(self) -> str:
        """The organization whose audit chain a change of this row belongs to; empty: the installation's."""
        return str(getattr(self, "organization_id", None) or "")

    @classmethod
    def check(cls, **kwargs: Any) -> list[checks.CheckMessage]:
        """A delete of somebody else's row must not reach into configuration behind the change set's back."""
        problems = super().check(**kwargs)
        for field in cls._meta.local_fields:
            relation: Any = field.remote_field
            if relation is None or (isinstance(relation.model, type) and issubclass(relation.model, ConfigModel)):
                continue
            if relation.on_delete not in (PROTECT, RESTRICT, DO_NOTHING):
                problems.append(checks.Error(f"{field} must protect what it points at", obj=cls, id="changes.E001"))
        if cls._meta.local_many_to_many:
            problems.append(checks.Error("rows of a hidden table escape the change set", obj=cls, id="changes.E002"))
        return problems
