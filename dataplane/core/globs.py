"""Globs for model names: `*` stands for any run of characters, everything else for itself, case included.

No other wildcard and no backtracking: a match walks the text once, whatever the pattern.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache


def is_glob(pattern: str) -> bool:
    return "*" in pattern


class Glob:
    """One pattern, split once: a fixed start, a fixed end and the pieces that must follow each other in between."""

    __slots__ = ("_between", "_end", "_start", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._start, *rest = pattern.split("*")
        self._end: str | None = rest[-1] if rest else None
        self._between = tuple(piece for piece in rest[:-1] if piece)

    def matches(self, text: str) -> bool:
        if self._end is None:
            return text == self._start
        last = len(text) - len(self._end)
        at = len(self._start)
        if at > last or not text.startswith(self._start) or not text.endswith(self._end):
            return False
        for piece in self._between:
            start = text.find(piece, at, last)
            if start < 0:
                return False
            at = start + len(piece)
        return True

    def __repr__(self) -> str:
        return f"Glob({self.pattern!r})"


class GlobSet:
    """Several patterns as one question. Plain names are looked up, not walked."""

    __slots__ = ("globs", "names")

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        self.names = frozenset(pattern for pattern in patterns if not is_glob(pattern))
        self.globs = tuple(Glob(pattern) for pattern in patterns if is_glob(pattern))

    def matches(self, text: str) -> bool:
        return text in self.names or any(glob.matches(text) for glob in self.globs)

    def __bool__(self) -> bool:
        return bool(self.names or self.globs)


@lru_cache(maxsize=4096)
def compiled(patterns: tuple[str, ...]) -> GlobSet:
    """The same patterns are compiled once: allow-lists repeat from key to key and from request to request."""
    return GlobSet(patterns)
