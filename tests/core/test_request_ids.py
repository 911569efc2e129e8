"""Ids of requests are unique, in order, and of the session that they were made in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.request_ids import RequestIds, was_made_in

NOW_MS = 1_795_000_000_000
sessions = st.text(min_size=1, max_size=64)


def test_no_two_are_the_same_however_many_there_are_in_one_millisecond():
    ids = RequestIds("ses_1", 2**24 - 500)
    made = [ids.make(NOW_MS) for _ in range(1_000)]
    assert len(set(made)) == 1_000
    assert {len(id) for id in made} == {34}
    assert made[-1] < ids.make(NOW_MS + 1)


@given(sessions, sessions, st.integers(0, 2**24 - 1))
def test_everybody_can_tell_which_session_it_was_made_in(own: str, other: str, first: int):
    id = RequestIds(own, first).make(NOW_MS)
    assert was_made_in(id, own)
    assert was_made_in(id, other) == (own == other)
    assert not was_made_in("req_1", own)
