"""A configuration row as the change set and the audit see it: what it is part of, and what a change of it is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

from controlplane.changes.models import ResourceKind


@dataclass(frozen=True, slots=True)
class Touch:
    """A pushed resource whose content may differ now. `revoked`: a key that stops; `cut`: its streams end at once."""

    kind: ResourceKind
    id: str
    organization_id: str = ""
    revoked: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class AuditTarget:
    """The object that an event is about. `part` names the piece of it that a row is; empty for the object's own row."""

    kind: str
    id: str
    label: str = field(default="", compare=False)
    part: str = field(default="", compare=False)


class ConfigRow(Protocol):
    """Any `ConfigModel`."""

    observed: ClassVar[frozenset[str]]
    unaudited: ClassVar[frozenset[str]]
    _meta: ClassVar[Any]

    @property
    def pk(self) -> Any:
        """Its primary key; None once Django has deleted it."""

    @classmethod
    def present(cls, primary_keys: Sequence[Any]) -> Mapping[Any, Self]:
        """Returns those of the rows that the database holds now, by primary key."""

    @classmethod
    def consequences(cls, before: Self | None, after: Self | None) -> Iterable[Touch]:
        """The pushed resources that going from one state to the other touches."""

    def audit_target(self) -> AuditTarget:
        """The object that a change of this row is a change of."""

    def organization_of(self) -> str:
        """The organization whose audit chain a change of this row belongs to; empty: the installation's."""
