"""The asks of a pod that have no answer yet: `Pending`, one with the money parked for it, and `Asks`, all of them."""

from __future__ import annotations

from collections.abc import Iterator

from dataplane.core.money.amounts import saturated
from dataplane.core.money.holds import Hold
from dataplane.core.money.messages import Ask, AskItem, AskKind
from dataplane.core.money.slices import HoldRules


class Pending:
    """An ask on its way, and what was taken for it from each of its hold's slices already."""

    __slots__ = ("amounts", "hold", "kind", "minimum", "need", "repeats", "since")

    def __init__(self, hold: Hold, kind: AskKind, need: int, minimum: int, repeats: int) -> None:
        self.hold = hold
        self.kind = kind
        self.need = need
        self.minimum = minimum
        self.repeats = repeats
        self.amounts: list[int] = []
        # When they were parked.
        self.since = 0

    def park(self, fenced: bool, now: int) -> None:
        """Take what is there, so that nobody else counts on it. A debt comes along: the answer has to cover it."""
        self.since = now
        for part in self.hold.slices:
            usable = min(part.free, 0) if fenced else part.free
            amount = min(usable, self.need) if self.hold.binds(part) else self.need
            part.free -= amount
            part.parked += amount
            self.amounts.append(amount)

    def unpark(self) -> None:
        for part, amount in zip(self.hold.slices, self.amounts, strict=True):
            part.parked -= amount
            part.put_back(amount, self.since)
        self.amounts = []

    def items(self, rules: HoldRules, now: int) -> tuple[AskItem, ...]:
        """What lacks on each account that may refuse, after what is parked."""
        items = []
        for part, amount in zip(self.hold.slices, self.amounts, strict=True):
            if self.hold.binds(part) and (amount < self.need or part.free < self.need):
                need, minimum = self.need - amount, self.minimum - amount
                # Whatever a debt has come to: more than any account has is refused like all of it.
                amounts = (saturated(need), saturated(minimum), saturated(part.want(rules, now)))
                items.append(AskItem(part.account.ref, *amounts))
        return tuple(items)


class Asks:
    """The asks of one pod that have no answer yet, by their ids, which never come again within its process."""

    __slots__ = ("_entries", "_last_id")

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Pending, Ask]] = {}
        self._last_id = 0

    def __iter__(self) -> Iterator[Ask]:
        return iter([ask for _, ask in self._entries.values()])

    def add(self, pending: Pending, fenced: bool, rules: HoldRules, now: int) -> Ask:
        """Park what is there; the message that asks for the rest. `fenced`: leases may not be spent now."""
        self._last_id += 1
        pending.park(fenced, now)
        hold = pending.hold
        ask = Ask(self._last_id, pending.kind, hold.request_id, hold.attempt, pending.items(rules, now))
        hold.asking = ask.ask_id
        self._entries[ask.ask_id] = pending, ask
        return ask

    def hold_of(self, ask_id: int) -> Hold | None:
        """Whose ask it is. None: it has its answer."""
        entry = self._entries.get(ask_id)
        return None if entry is None else entry[0].hold

    def take(self, ask_id: int) -> tuple[Pending, Ask] | None:
        """Its answer is here: what was parked is free again. None: nobody waits for it any more."""
        entry = self._entries.pop(ask_id, None)
        if entry is not None:
            entry[0].unpark()
        return entry

    def take_all(self) -> tuple[Pending, ...]:
        """All of them, for another lease session."""
        waiting = tuple(pending for pending, _ in self._entries.values())
        for pending in waiting:
            pending.unpark()
        self._entries.clear()
        return waiting
