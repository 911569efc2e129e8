"""How much a parser works: every byte that it copies or looks through is counted, without a clock.

`Work` feeds a parser bytes whose every copy and search is counted, and puts a buffer that counts in the place of its
own. What runs in C is counted by the bytes that it goes over.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, SupportsIndex

import pytest


class Work:
    """`done`: bytes gone over so far."""

    done = 0

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        work = self

        class Counted(bytes):
            """Bytes; so is what comes of them."""

            def _of(self, result: bytes) -> Counted:
                work.done += len(result)
                return Counted(result)

            def __getitem__(self, at: Any) -> Any:
                found = super().__getitem__(at)
                return self._of(found) if isinstance(found, bytes) else found

            def __add__(self, other: Any) -> Counted:
                return self._of(bytes.__add__(self, other))

            def __radd__(self, other: Any) -> Counted:
                return self._of(bytes(other) + bytes(self))

            def replace(self, old: Any, new: Any, count: SupportsIndex = -1, /) -> Counted:
                return self._of(super().replace(old, new, count))

            def rstrip(self, characters: Any = None, /) -> Counted:
                return self._of(super().rstrip(characters))

            def lstrip(self, characters: Any = None, /) -> Counted:
                return self._of(super().lstrip(characters))

            def split(self, separator: Any = None, most: SupportsIndex = -1) -> Any:
                work.done += len(self)
                return super().split(separator, most)

            def find(self, wanted: Any, start: Any = 0, end: Any = None, /) -> int:
                found = super().find(wanted, start, len(self) if end is None else end)
                work.done += (found if found >= 0 else len(self) if end is None else min(end, len(self))) - start
                return found

            def rfind(self, wanted: Any, start: Any = 0, end: Any = None, /) -> int:
                found = super().rfind(wanted, start, len(self) if end is None else end)
                work.done += len(self) - (found if found >= 0 else start)
                return found

        class CountedArray(bytearray):
            def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
                work.done += len(other)
                return super().__iadd__(other)

            def __getitem__(self, at: Any) -> Any:
                found = super().__getitem__(at)
                if isinstance(found, bytearray):
                    work.done += len(found)
                return found

            def find(self, wanted: Any, start: Any = 0, end: Any = None, /) -> int:
                found = super().find(wanted, start)
                work.done += (found if found >= 0 else len(self)) - start
                return found

            def rfind(self, wanted: Any, start: Any = 0, end: Any = None, /) -> int:
                found = super().rfind(wanted, start)
                work.done += len(self) - (found if found >= 0 else start)
                return found

        self._counted = Counted
        for module in modules:
            monkeypatch.setattr(module, "bytearray", CountedArray, raising=False)

    def per_byte(self, feed: Callable[[bytes], object], text: bytes, step: int) -> float:
        """Bytes gone over for each byte of `text`, fed in pieces of `step`."""
        before = self.done
        for at in range(0, len(text), step):
            feed(self._counted(text[at : at + step]))
        return (self.done - before) / len(text)
