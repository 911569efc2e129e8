"""Money as integers: nano-dollars where it is kept, pico-dollars where it is multiplied, text where people read it."""

from __future__ import annotations

from typing import Final

NANO_PER_DOLLAR: Final = 1_000_000_000
PICO_PER_NANO: Final = 1_000
# What one account, lease or record can say: more than a billion dollars, and a sum of seven such fits 64 bits. Whatever
# would pass it stays there: a figure that cannot be is no reason to break what is said of other accounts.
MOST_NANO: Final = 1 << 60


def nano_from_pico(pico: int) -> int:
    """Rounded half up: the one rounding of one cost."""
    return (pico + PICO_PER_NANO // 2) // PICO_PER_NANO


def saturated(nano: int) -> int:
    """The amount, or the largest one that can be said."""
    return nano if -MOST_NANO <= nano <= MOST_NANO else max(-MOST_NANO, min(MOST_NANO, int(nano)))


def dollars(nano: int) -> str:
    """For people: at least cents, and further digits only where they say something ("$12.50", "$0.0000031")."""
    sign = "-" if nano < 0 else ""
    whole, fraction = divmod(abs(nano), NANO_PER_DOLLAR)
    return f"{sign}${whole}.{f'{fraction:09d}'.rstrip('0').ljust(2, '0')}"
