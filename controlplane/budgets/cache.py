"""The cache of budgets and account ids between two units of work of one process: it holds nothing that may be stale.

Budgets are remembered for one revision of the configuration; which id an account has never changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from controlplane.budgets.models import Budget, Override
from controlplane.budgets.values import core_budget
from controlplane.changes.models import Revision
from dataplane.core import rows
from dataplane.core.money.messages import AccountRef

MOST_IDS = 100_000
IDS_AT_A_TIME = 500

_revision: tuple[str, int] = ("", -1)
_budgets: dict[str, rows.Budget | None] = {}
_ids: dict[AccountRef, int] = {}
exhausted: set[tuple[AccountRef, int]] = set()  # accounts and limits whose 100 % has been noted


def budgets(ids: Collection[str], revision: tuple[str, int] | None = None) -> dict[str, rows.Budget]:
    """As they are now; a deleted one is absent, and so is one that cannot be understood.

    `revision`: epoch and value, where the caller has just read them.
    """
    global _revision, _budgets
    revision = revision or Revision.objects.values_list("epoch", "value").first() or ("", 0)
    if revision != _revision:
        _revision, _budgets = revision, {}
    remembered = _budgets
    unknown = sorted({id for id in ids if id not in remembered})
    for start in range(0, len(unknown), IDS_AT_A_TIME):
        some = unknown[start : start + IDS_AT_A_TIME]
        remembered.update(dict.fromkeys(some))
        for row in Budget.objects.filter(pk__in=some).prefetch_related("overrides"):
            overrides: Iterable[Override] = row.overrides.all()
            try:
                remembered[row.pk] = core_budget(row, overrides)
            except (ValueError, TypeError):
                continue
    return {id: budget for id in ids if (budget := remembered[id]) is not None}


def account_ids(refs: Iterable[AccountRef]) -> dict[AccountRef, int]:
    """The ids that are remembered. The caller reads the row, and checks that it is the account's."""
    return {ref: _ids[ref] for ref in refs if ref in _ids}


def remember(ids: dict[AccountRef, int]) -> None:
    if len(_ids) > MOST_IDS:
        _ids.clear()
    _ids.update(ids)


def remember_exhausted(crossing: tuple[AccountRef, int]) -> None:
    if len(exhausted) > MOST_IDS:
        exhausted.clear()
    exhausted.add(crossing)


def forget(refs: Iterable[AccountRef]) -> None:
    for ref in refs:
        _ids.pop(ref, None)
