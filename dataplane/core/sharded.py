"""`ShardedMap`: an immutable map whose next version shares what did not change with this one.

A change of one entry out of 100,000 copies one shard of about a hundred entries and the list of shards, not the map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar, overload

V = TypeVar("V")
D = TypeVar("D")

# 1024 shards: at 100,000 entries a change copies about 100 entries and 1024 references.
SHARDS: Final = 1024

# Stands for every empty shard; never written to.
_EMPTY: Final[dict[str, Any]] = {}


class ShardedMap(Mapping[str, V]):
    """Read like a dict; `changed` gives the next one."""

    __slots__ = ("_shards", "_size")

    def __init__(self, entries: Mapping[str, V] | Iterable[tuple[str, V]] = ()) -> None:
        shards: list[dict[str, V]] = [_EMPTY] * SHARDS
        for key, value in entries.items() if isinstance(entries, Mapping) else entries:
            index = hash(key) % SHARDS
            if shards[index] is _EMPTY:
                shards[index] = {}
            shards[index][key] = value
        self._shards = shards
        self._size = sum(map(len, shards))

    def changed(self, upserts: Mapping[str, V], removed: Iterable[str] = ()) -> ShardedMap[V]:
        """With `removed` taken out (missing ones are nobody's business), then `upserts` put in."""
        if not self._size and upserts:
            return ShardedMap(upserts)
        own: set[int] = set()
        shards = self._shards
        size = self._size
        for key in removed:
            index = hash(key) % SHARDS
            if key not in shards[index]:
                continue
            if not own:
                shards = shards.copy()
            if index not in own:
                own.add(index)
                shards[index] = shards[index].copy()
            del shards[index][key]
            size -= 1
        for key, value in upserts.items():
            index = hash(key) % SHARDS
            if not own:
                shards = shards.copy()
            if index not in own:
                own.add(index)
                shards[index] = shards[index].copy()
            size += key not in shards[index]
            shards[index][key] = value
        if not own:
            return self
        after: ShardedMap[V] = ShardedMap.__new__(ShardedMap)
        after._shards = shards
        after._size = size
        return after

    def shards(self) -> list[Mapping[str, V]]:
        return list(self._shards)

    def __getitem__(self, key: str) -> V:
        return self._shards[hash(key) % SHARDS][key]

    @overload
    def get(self, key: str, default: None = None, /) -> V | None: ...
    @overload
    def get(self, key: str, default: V | D, /) -> V | D: ...
    def get(self, key: str, default: V | D | None = None, /) -> V | D | None:
        """As Mapping's own, without its detour through an exception."""
        return self._shards[hash(key) % SHARDS].get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._shards[hash(key) % SHARDS]

    def __iter__(self) -> Iterator[str]:
        for shard in self._shards:
            yield from shard

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"ShardedMap({self._size} entries)"
