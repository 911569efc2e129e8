"""Grids: everything tried with everything. `make test` takes a fixed part, `make test-grid` the whole.

A test that is `thinned` is told a step, and takes each step-th of the things with `part`; another number, such as a
field's place among its siblings, takes others. With step 1, behind the marker `grid`, it takes all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import pytest

Thing = TypeVar("Thing")


def thinned(step: int) -> pytest.MarkDecorator:
    whole = pytest.param(1, id="whole", marks=pytest.mark.grid)
    return pytest.mark.parametrize("step", [pytest.param(step, id=f"1 of {step}"), whole])


def part(things: Sequence[Thing], number: int, step: int) -> list[Thing]:
    return list(things[number % step :: step])
