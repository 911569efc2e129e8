"""Windows of budgets: which one an instant falls into, its name, its end. Computed from time, never reset by a job.

The windows of one rule follow each other without a gap or an overlap, whatever the time zone does: a day has 23 or 25
hours when clocks change, an anchor on the 31st means the last day of a shorter month. Minutes and hours have the zone's
usual distance from UTC. The name (`day:2026-11-24@Europe/Berlin`) is a part of the account's key: another zone, anchor
or reset makes other accounts.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo


class WindowKind(StrEnum):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"  # one, for ever
    MANUAL = "manual"  # until somebody resets it


# Anchor of a kind: lowest, highest, default. Hour of the day, ISO weekday, day of the month.
ANCHORS: Final = {
    WindowKind.DAY: (0, 23, 0),
    WindowKind.WEEK: (1, 7, 1),
    WindowKind.MONTH: (1, 31, 1),
}

_MINUTE: Final = 60_000
_HOUR: Final = 3_600_000
_DAYS: Final = {WindowKind.DAY: 1, WindowKind.WEEK: 7}
_OF_ITS_HOUR: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WindowRule:
    """How a budget divides time. `resets`: how often it was reset by hand."""

    kind: WindowKind
    timezone: str = "UTC"
    anchor: int = 0  # 0: the kind's default
    resets: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """One of them, in Unix milliseconds. `ends_ms` is exclusive and the moment of the next reset; 0: never."""

    key: str
    starts_ms: int
    ends_ms: int

    def contains(self, at_ms: int) -> bool:
        return self.starts_ms <= at_ms and (not self.ends_ms or at_ms < self.ends_ms)


@lru_cache(maxsize=1024)
def zone(name: str) -> tzinfo:
    """UTC for a name that this machine does not know; `known_zone` says whether it does."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return UTC


def known_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True


def window_at(rule: WindowRule, at_ms: int) -> Window:
    """The window that `at_ms` falls into."""
    match rule.kind:
        case WindowKind.MINUTE:
            return _fixed(rule, at_ms, _MINUTE, 0)
        case WindowKind.HOUR:
            return _fixed(rule, at_ms, _HOUR, _usual_offset_ms(rule.timezone) % _HOUR)
        case WindowKind.TOTAL | WindowKind.MANUAL:
            return Window(f"{rule.kind}{_suffix(rule, zoned=False)}", 0, 0)
        case _:
            return _calendar(rule, at_ms)


def window_named(rule: WindowRule, key: str, near_ms: int, slack_ms: int) -> Window | None:
    """The window called `key`, if the rule has it within `slack_ms` of `near_ms`: clocks differ, requests take time."""
    at_ms = near_ms - slack_ms
    while at_ms <= near_ms + slack_ms:
        window = window_at(rule, at_ms)
        if window.key == key:
            return window
        if not window.ends_ms:
            break
        at_ms = window.ends_ms
    return None


def anchor_of(rule: WindowRule) -> int:
    """The anchor, or its kind's default where it is 0 or out of range."""
    lowest, highest, default = ANCHORS.get(rule.kind, (0, 0, 0))
    return rule.anchor if lowest <= rule.anchor <= highest else default


def _fixed(rule: WindowRule, at_ms: int, length: int, offset: int) -> Window:
    start = at_ms - (at_ms + offset) % length
    name = datetime.fromtimestamp(start // 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
    return Window(f"{rule.kind}:{name}{_suffix(rule)}", start, start + length)


@lru_cache(maxsize=1024)
def _usual_offset_ms(name: str) -> int:
    """Minutes and hours need a distance from UTC that no change of the clocks shifts."""
    offset = zone(name).utcoffset(_OF_ITS_HOUR.astimezone(zone(name))) or timedelta()
    return int(offset.total_seconds()) * 1000


def _calendar(rule: WindowRule, at_ms: int) -> Window:
    local = datetime.fromtimestamp(at_ms / 1000, zone(rule.timezone)).date()
    # Around a change of the clocks an instant may belong to the neighbour of the window that its date suggests.
    first = _first_day(rule, local + timedelta(days=1))
    while (start := _start_ms(rule, first)) > at_ms:
        first = _first_day(rule, first - timedelta(days=1))
    end = _start_ms(rule, _next_first_day(rule, first))
    name = first.isoformat()
    if rule.kind is WindowKind.DAY and anchor_of(rule):
        name += f"T{anchor_of(rule):02d}"
    return Window(f"{rule.kind}:{name}{_suffix(rule)}", start, end)


def _first_day(rule: WindowRule, day: date) -> date:
    """The latest first day of a window that is not after `day`."""
    anchor = anchor_of(rule)
    if rule.kind is WindowKind.DAY:
        return day
    if rule.kind is WindowKind.WEEK:
        return day - timedelta(days=(day.isoweekday() - anchor) % 7)
    first = _in_month(day.year, day.month, anchor)
    if first <= day:
        return first
    before = day.replace(day=1) - timedelta(days=1)
    return _in_month(before.year, before.month, anchor)


def _next_first_day(rule: WindowRule, first: date) -> date:
    if rule.kind in _DAYS:
        return first + timedelta(days=_DAYS[rule.kind])
    after = first.replace(day=monthrange(first.year, first.month)[1]) + timedelta(days=1)
    return _in_month(after.year, after.month, anchor_of(rule))


def _in_month(year: int, month: int, day: int) -> date:
    return date(year, month, min(day, monthrange(year, month)[1]))


def _start_ms(rule: WindowRule, day: date) -> int:
    """Of the first occurrence of that local time; the moment of the change where the clocks skip it."""
    hour = anchor_of(rule) if rule.kind is WindowKind.DAY else 0
    local = datetime(day.year, day.month, day.day, hour, tzinfo=zone(rule.timezone))
    before, after = local.utcoffset(), local.replace(fold=1).utcoffset()
    if before is not None and after is not None and before < after:  # PEP 495: there is no such time on that day
        return _change_s(local) * 1000
    return int(local.timestamp()) * 1000


def _change_s(skipped: datetime) -> int:
    """When the clocks skipped this local time: between where it would be by the clock before and by the one after."""
    before = skipped.utcoffset()
    earlier, later = int(skipped.replace(fold=1).timestamp()), int(skipped.timestamp())
    while earlier < later:
        middle = (earlier + later) // 2
        if datetime.fromtimestamp(middle, skipped.tzinfo).utcoffset() == before:
            earlier = middle + 1
        else:
            later = middle
    return later


def _suffix(rule: WindowRule, *, zoned: bool = True) -> str:
    return (f"@{rule.timezone}" if zoned else "") + (f"#{rule.resets}" if rule.resets else "")
