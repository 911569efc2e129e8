"""How long a provider may take: the first entry that matches a model and says it holds."""

from __future__ import annotations

import pytest

from dataplane.core.routing import Candidate
from dataplane.core.waits import Wait, waits_for
from tests.core import build

WAITS = (Wait("o3-deep-*", 1800), Wait("o3-*", 0, 900), Wait("*", 30, 40))


@pytest.mark.parametrize(
    ("model", "seconds"),
    [("o3-deep-research", (1800, 900)), ("o3-mini", (30, 900)), ("gpt-5", (30, 40)), ("", (30, 40))],
)
def test_the_first_that_matches_and_says_it_holds(model: str, seconds: tuple[int, int]) -> None:
    assert waits_for(WAITS, model) == seconds
    assert Candidate(build.provider(waits=WAITS), model).waits == seconds


def test_where_nobody_says_anything_the_pod_decides() -> None:
    assert waits_for((), "gpt-5") == waits_for((Wait("claude-*", 5),), "gpt-5") == (0, 0)
    assert Candidate(build.provider(), "gpt-5").waits == (0, 0)
