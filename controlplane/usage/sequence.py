"""Which sequence numbers of a spool have come: how far, and what is missing before that. Pure."""

from __future__ import annotations

from dataclasses import dataclass

GAPS_KEPT = 100  # ranges; beyond it the oldest is forgotten, its count stays


@dataclass(frozen=True)
class Received:
    """Everything up to `through` has come, but for `gaps` (inclusive ranges, ascending); `missing` counts theirs."""

    through: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    missing: int = 0

    def plus(self, first: int, last: int) -> Received:
        """After the numbers `first`…`last` have come too, new or not."""
        if last < first:
            return self
        gaps: list[tuple[int, int]] = []
        filled = 0
        for start, end in self.gaps:
            overlap = min(end, last) - max(start, first) + 1
            if overlap <= 0:
                gaps.append((start, end))
                continue
            filled += overlap
            gaps += [piece for piece in ((start, first - 1), (last + 1, end)) if piece[0] <= piece[1]]
        skipped = max(0, first - self.through - 1)
        if skipped:
            gaps.append((self.through + 1, first - 1))
        return Received(max(self.through, last), tuple(gaps[-GAPS_KEPT:]), self.missing - filled + skipped)
