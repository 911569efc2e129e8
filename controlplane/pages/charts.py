"""Charts as inline SVG: no script, printable, with the same figures as a table for those who do not see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH = 720
HEIGHT = 140
GAP = 0.28  # of a column: room between bars
LEAST_VISIBLE = 2.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One column: `text` is the figure as people read it."""

    label: str
    text: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart for a template to draw: bars in a box of WIDTH × HEIGHT, the highest value, first and last label."""

    title: str
    unit: str
    bars: tuple[Bar, ...]
    top: str
    total: str

    @property
    def width(self) -> int:
        return WIDTH

    @property
    def height(self) -> int:
        return HEIGHT

    @property
    def first(self) -> str:
        return self.bars[0].label if self.bars else ""

    @property
    def last(self) -> str:
        return self.bars[-1].label if self.bars else ""


def bar_chart(
    title: str, unit: str, points: Sequence[tuple[str, int]], show: Callable[[int], str] = "{:,}".format
) -> Chart:
    """`points` are (label, value) from left to right, values non-negative; `show` words a value."""
    highest = max((value for _, value in points), default=0)
    column = WIDTH / max(len(points), 1)
    bars = []
    for position, (label, value) in enumerate(points):
        height = HEIGHT * value / highest if highest else 0.0
        height = max(height, LEAST_VISIBLE) if value else 0.0
        bars.append(
            Bar(
                label,
                show(value),
                round(column * (position + GAP / 2), 2),
                round(HEIGHT - height, 2),
                round(column * (1 - GAP), 2),
                round(height, 2),
            )
        )
    return Chart(title, unit, tuple(bars), show(highest), show(sum(value for _, value in points)))
