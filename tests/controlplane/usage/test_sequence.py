"""What has come of a spool, against a plain set of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.usage.sequence import GAPS_KEPT, Received

RANGES = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8)), max_size=30)


@given(RANGES)
def test_gaps_are_exactly_what_never_came(ranges: list[tuple[int, int]]) -> None:
    known, came = Received(), set[int]()
    for first, length in ranges:
        known = known.plus(first, first + length - 1)
        came |= set(range(first, first + length))
    assert known.through == max(came, default=0)
    missing = set(range(1, known.through + 1)) - came
    assert {number for start, end in known.gaps for number in range(start, end + 1)} == missing
    assert known.missing == len(missing)
    assert all(start <= end for start, end in known.gaps)


def test_the_oldest_gaps_are_forgotten_and_their_count_is_kept() -> None:
    known = Received()
    for number in range(2, 2 * GAPS_KEPT + 40, 2):
        known = known.plus(number, number)
    assert len(known.gaps) == GAPS_KEPT
    assert known.missing == GAPS_KEPT + 19
