"""Amounts as alerts say them."""

from __future__ import annotations

from dataclasses import dataclass

from dataplane.core.money.amounts import NANO_PER_DOLLAR, dollars

_CENT = NANO_PER_DOLLAR // 100


def money(nano: int) -> str:
    """To the cent, unless that would be nothing."""
    return dollars((nano + _CENT // 2) // _CENT * _CENT) if abs(nano) >= _CENT else dollars(nano)


def percent_of(part: int, whole: int) -> str:
    """Rounded down: 99.9 % is not yet 100 %."""
    return f"{part * 100 // whole} %" if whole > 0 else "more than 100 %"


@dataclass(frozen=True, slots=True)
class Times:
    """The ratio of `now` to `usual`, in words."""

    now: int
    usual: int

    def __str__(self) -> str:
        return f"{self.now / self.usual:.1f} times the usual {money(self.usual)}" if self.usual else "usually nothing"
