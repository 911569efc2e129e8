"""The kinds of rows that pods hold, each registered once: `PUSHED`. What a snapshot does with a kind follows from that.

From here come the maps and attributes of `Snapshot`, which references are checked and who looks again when something
goes away, which change makes an organization's view anew, the codecs of `dataplane.wire.rows`, and whom a row covers
that is not understood. A new kind is a row in `rows.py`, a message in protos/fleet.proto, an entry below and, for the
reader and the type checker, an attribute of `Snapshot`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from dataplane.core.money.prices import PriceList
from dataplane.core.rows import (
    Budget,
    ModelAlias,
    NotUnderstood,
    Organization,
    Principal,
    Project,
    Provider,
    Row,
    ScopeKind,
    VirtualKey,
)

OWNER: Final = "organization_id"


@dataclass(frozen=True, slots=True)
class PushedKind:
    """One kind of row."""

    row: type[Row]
    attribute: str  # of Snapshot: the rows by id
    wire: str = ""  # the field of Resource in protos/fleet.proto; "": never sent, pods make it
    owner: str = OWNER  # the attribute that says whose it is; "": nobody's
    # Attribute → the kind whose id it has. The owner must be there; another may be "", or a row of the same owner.
    references: Mapping[str, type[Row]] = field(default_factory=dict)
    in_view: bool = False  # of its organization; what is nobody's, of every organization
    own_scope: ScopeKind | None = None  # as what it covers itself when it is not understood; None: its organization
    only_requests: bool = False  # it covers nobody then: only the requests are refused that would go to it


class Kinds(Mapping[type[Row], PushedKind]):
    """Some kinds by their rows, and what follows from how they refer to each other."""

    def __init__(self, kinds: Iterable[PushedKind]) -> None:
        self._kinds = {kind.row: kind for kind in kinds}
        self._owners = {kind.row: _owner(kind) for kind in self._kinds.values()}
        # Kind → the kinds whose rows refer to it: what has to be looked through when one of it goes away.
        self.referrers: Mapping[type[Row], tuple[type[Row], ...]] = {
            target: tuple(kind.row for kind in self._kinds.values() if target in kind.references.values())
            for target in self._kinds
        }
        self.in_its_view = tuple(kind.row for kind in self._kinds.values() if kind.in_view and kind.owner)
        self.in_every_view = tuple(kind.row for kind in self._kinds.values() if kind.in_view and not kind.owner)

    def organization_of(self, row: Row) -> str:
        """Whose it is; an organization is its own. "" for what belongs to no organization."""
        return self._owners[type(row)](row)

    def __getitem__(self, row: type[Row]) -> PushedKind:
        return self._kinds[row]

    def __iter__(self) -> Iterator[type[Row]]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)


def _owner(kind: PushedKind) -> Callable[[Row], str]:
    return attrgetter(kind.owner) if kind.owner else lambda row: ""


PUSHED: Final = Kinds(
    (
        PushedKind(
            Organization,
            "organizations",
            "organization",
            owner="id",
            references={"price_list_id": PriceList},
            in_view=True,
            own_scope=ScopeKind.ORGANIZATION,
        ),
        PushedKind(
            Project,
            "projects",
            "project",
            references={OWNER: Organization},
            own_scope=ScopeKind.PROJECT,
        ),
        PushedKind(
            Principal,
            "principals",
            "principal",
            references={OWNER: Organization},
            own_scope=ScopeKind.PRINCIPAL,
        ),
        PushedKind(
            VirtualKey,
            "keys",
            "virtual_key",
            references={OWNER: Organization, "project_id": Project, "principal_id": Principal},
            own_scope=ScopeKind.VIRTUAL_KEY,
        ),
        PushedKind(
            Provider,
            "providers",
            "provider",
            references={OWNER: Organization},
            in_view=True,
            only_requests=True,
        ),
        PushedKind(
            ModelAlias,
            "aliases",
            "model_alias",
            references={OWNER: Organization, "project_id": Project, "key_id": VirtualKey, "provider_id": Provider},
            in_view=True,
            only_requests=True,
        ),
        PushedKind(
            PriceList,
            "prices",
            "price_list",
            owner="",
            in_view=True,
            only_requests=True,
        ),
        PushedKind(
            Budget,
            "budgets",
            "budget",
            references={OWNER: Organization},
            in_view=True,
        ),
        PushedKind(
            NotUnderstood,
            "not_understood",
            in_view=True,
        ),
    )
)
