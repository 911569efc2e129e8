"""What the guard is held to (`guard.toml`): the commit that it compares with, and what may cost more than there.

`base` is the commit that landed before the one that lands now; who lands moves it on. An allowance names the base that
it was measured against, so it ends with it: the next landing compares with a commit that has the dearer code already.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMITTED = Path(__file__).with_name("guard.toml")
MOST = 1.0  # nothing is allowed to more than double
REASON = 20  # characters that a reason has at least

_COMMIT = re.compile(r"[0-9a-f]{40}")


class Invalid(Exception):
    """The file is not what it should be; says what would be."""


@dataclass(frozen=True, slots=True)
class Allowance:
    load: str
    more: float  # share of the base's cost
    reason: str


@dataclass(frozen=True, slots=True)
class Agreement:
    base: str
    allowances: Mapping[str, Allowance]  # by load


def read(text: str, loads: Collection[str]) -> Agreement:
    """Raises Invalid."""
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise Invalid(f"not TOML: {problem}") from None
    _only(said, {"base", "allowance"}, "the file")
    base = said.get("base")
    if not isinstance(base, str) or not _COMMIT.fullmatch(base):
        raise Invalid(f"base is {base!r}; it is the whole id of a commit, 40 hexadecimal digits")
    found: dict[str, Allowance] = {}
    tables = said.get("allowance", [])
    if not isinstance(tables, list):
        raise Invalid("an allowance is a table of its own: [[allowance]]")
    for table in tables:
        allowance = _allowance(table, base, loads)
        if allowance.load in found:
            raise Invalid(f"two allowances for {allowance.load}; one says it all")
        found[allowance.load] = allowance
    return Agreement(base, found)


def _allowance(table: Mapping[str, Any], base: str, loads: Collection[str]) -> Allowance:
    _only(table, {"base", "load", "more", "reason"}, "an allowance")
    load, more, reason = table.get("load"), table.get("more"), table.get("reason")
    if not isinstance(load, str) or load not in loads:
        raise Invalid(f"an allowance for {load!r}; the loads are {', '.join(loads)}")
    if table.get("base") != base:
        raise Invalid(
            f"the allowance for {load} is for base {table.get('base')!r}, not for {base}: it ended, remove it"
        )
    if isinstance(more, bool) or not isinstance(more, int | float) or not 0 < more <= MOST:
        raise Invalid(
            f"the allowance for {load} is {more!r}; it is a share of the base's cost, such as 0.08, {MOST} at most"
        )
    if not isinstance(reason, str) or len(reason.strip()) < REASON:
        raise Invalid(f"the allowance for {load} has no reason; say in a sentence what the cost buys")
    return Allowance(load, float(more), reason.strip())


def _only(table: Mapping[str, Any], known: Collection[str], where: str) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise Invalid(f"{where} says {', '.join(unknown)}; it can say {', '.join(sorted(known))}")
