"""Filters one behind the other: what one lets through the next one gets, up to the first verdict."""

from __future__ import annotations

from dataplane.core.errors import Code, Refusal
from dataplane.dialects.dialect import Operation
from dataplane.dialects.filter import FilteredSide
from dataplane.dialects.registry import ANTHROPIC
from tests.dialects.metering import FACTS

NO = Refusal(Code.VIRTUAL_KEY_DISABLED, "no")


class Marked:
    """Puts its mark behind every feed and behind the end; holds the last byte; says no when it sees an `x`."""

    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.verdict: Refusal | None = None
        self.ended = False
        self._pending = b""

    @property
    def held(self) -> int:
        return len(self._pending)

    def feed(self, body: bytes) -> bytes:
        body = self._pending + body
        if b"x" in body:
            self.verdict = NO
            return body[: body.index(b"x")]
        self._pending = body[-1:]
        return body[:-1] + self.mark

    def end(self) -> bytes:
        self.ended = True
        rest, self._pending = self._pending, b""
        return rest + self.mark.upper()


def side(*filters: Marked) -> FilteredSide:
    meters = [ANTHROPIC.meter(Operation.MESSAGES, streaming=True, facts=FACTS) for _ in range(2)]
    return FilteredSide(filters, meters[0], meters[1])


def test_what_one_lets_through_the_next_one_gets():
    both = side(Marked(b"a"), Marked(b"b"))
    assert both.feed(b"123", last=False) == b"12b"
    assert both.held == 2
    assert both.feed(b"4", last=True) == b"a3a4bAB"
    assert both.held == 0


def test_behind_a_verdict_nobody_is_asked_for_an_end():
    first, second = Marked(b"a"), Marked(b"b")
    both = side(first, second)
    assert both.feed(b"12x3", last=True) == b"1b"
    assert both.verdict is NO
    assert not first.ended
    assert not second.ended


def test_the_first_verdict_is_the_one():
    first, second = Marked(b"x"), Marked(b"b")
    both = side(first, second)
    assert both.feed(b"123", last=False) == b"12"
    assert first.verdict is None
    assert both.verdict is second.verdict is NO
